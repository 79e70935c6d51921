/* Names of element types for the kernels that turn one into another. */
#ifndef EG_TYPES_H
#define EG_TYPES_H

enum { EG_INT8 = 0, EG_UINT8, EG_INT16, EG_INT32, EG_BOOL, EG_FLOAT32 };

#endif
