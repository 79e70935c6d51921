#ifndef EG_ED25519_VERIFY_H
#define EG_ED25519_VERIFY_H
/* Checks Ed25519 signatures (RFC 8032): an image in flash against the public key that the firmware was built with.
 *
 * No allocation, no state, constant tables. Not constant in time, and need not be: it reads nothing secret. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EG_ED25519_KEY_BYTES 32
#define EG_ED25519_SIGNATURE_BYTES 64

/* True if signature is that of the length bytes of message under key. The equation without the cofactor, as OpenSSL
 * checks it; encodings that are not canonical are refused. key is the 32 bytes of the public key, as they end its
 * SubjectPublicKeyInfo, and must come from somebody who is trusted: one of low order is not looked for.
 * message may be anything if length is 0. Stack: about 1.4 KiB. About 3.4 million instructions on a Cortex-M4. */
bool eg_ed25519_verify(const uint8_t key[EG_ED25519_KEY_BYTES], const uint8_t *message, size_t length,
                       const uint8_t signature[EG_ED25519_SIGNATURE_BYTES]);

#endif
