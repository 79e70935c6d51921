#include "eg_guard.h"

#include "eg_ed25519_verify.h"
#include "eg_model.h"
#include "eg_text.h"

static void stop(void)
{
    eg_say_end();
    for (;;) {
    }
}

void eg_guard(void)
{
    const uint32_t length = (uint32_t)((uintptr_t)eg_image_end - (uintptr_t)eg_image_begin);
    if (!eg_ed25519_verify(eg_guard_key, eg_image_begin, length, eg_guard_signature)) {
        eg_say("x-refused-signature");
        stop();
    }
    const int32_t failed = eg_self_test(eg_guard_golden, eg_guard_arena(), eg_model.input, eg_model.output);
    if (failed != EG_SELF_TEST_HOLDS) {
        eg_say("x-refused-golden-");
        eg_say_unsigned((uint64_t)failed);
        stop();
    }
}
