/* An element of an integer tensor by its type (eg_types.h); bool is 0 or 1 in a byte. */
#ifndef EG_INTEGERS_H
#define EG_INTEGERS_H

#include "eg_core.h"
#include "eg_types.h"

EG_INLINE int32_t eg_get_integer(const void *tensor, int32_t type, int32_t i) {
    switch (type) {
    case EG_INT8: return ((const int8_t *)tensor)[i];
    case EG_UINT8: return ((const uint8_t *)tensor)[i];
    case EG_INT16: return ((const int16_t *)tensor)[i];
    case EG_BOOL: return ((const uint8_t *)tensor)[i] != 0;
    default: return ((const int32_t *)tensor)[i];
    }
}

/* What does not fit keeps its low bits. */
EG_INLINE void eg_set_integer(void *tensor, int32_t type, int32_t i, int32_t value) {
    switch (type) {
    case EG_INT8: ((int8_t *)tensor)[i] = (int8_t)value; break;
    case EG_UINT8: ((uint8_t *)tensor)[i] = (uint8_t)value; break;
    case EG_INT16: ((int16_t *)tensor)[i] = (int16_t)value; break;
    case EG_BOOL: ((uint8_t *)tensor)[i] = value != 0; break;
    default: ((int32_t *)tensor)[i] = value;
    }
}

/* The least and greatest number of a type. */
EG_INLINE int32_t eg_least(int32_t type) {
    return type == EG_INT8 ? -128 : type == EG_INT16 ? -32768 : type == EG_INT32 ? INT32_MIN : 0;
}
EG_INLINE int32_t eg_greatest(int32_t type) {
    return type == EG_INT8 ? 127 : type == EG_UINT8 ? 255 : type == EG_INT16 ? 32767 : type == EG_BOOL ? 1 : INT32_MAX;
}

#endif
