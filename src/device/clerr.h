/* clerr.h -- OpenCL errors by name, with the device they happened on. Used in src/device only.
 *
 *     MT_CL(dev, clFlush(queue));              returns upward with MOTLEY_EDEV
 *     MT_CL_OR(fail, dev, clFlush(queue));     jumps; needs a local `int st`
 *
 * dev may be NULL before a device is open. */
#ifndef MT_DEVICE_CLERR_H
#define MT_DEVICE_CLERR_H

#include "base/err.h"

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

struct mt_dev;

/* "CL_OUT_OF_RESOURCES"; "unknown OpenCL error" for a number that no header names. */
const char *mt_cl_name(cl_int code);

/* "0:0 pthread-skylake (driver 3.1)" into buf, which is returned; "no device" for NULL. */
const char *mt_cl_device(const struct mt_dev *dev, char *buf, size_t room);

/* Raises MOTLEY_EDEV; call is the text of the call, of which the name is shown. */
int mt_cl_raise(const struct mt_dev *dev, cl_int code, const char *call, const char *func,
                const char *file, int line);

#define MT_CL(dev, call)                                                                      \
    do {                                                                                      \
        cl_int mt_cl_ = (call);                                                               \
        if (mt_cl_ != CL_SUCCESS) {                                                           \
            return mt_cl_raise((dev), mt_cl_, #call, __func__, __FILE__, __LINE__);           \
        }                                                                                     \
    } while (0)

#define MT_CL_OR(label, dev, call)                                                            \
    do {                                                                                      \
        cl_int mt_cl_ = (call);                                                               \
        if (mt_cl_ != CL_SUCCESS) {                                                           \
            st = mt_cl_raise((dev), mt_cl_, #call, __func__, __FILE__, __LINE__);             \
            goto label;                                                                       \
        }                                                                                     \
    } while (0)

/* For calls that give their code through a pointer; name: of the call. */
#define MT_CL_DID_OR(label, dev, name, code)                                                  \
    do {                                                                                      \
        if ((code) != CL_SUCCESS) {                                                           \
            st = mt_cl_raise((dev), (code), (name), __func__, __FILE__, __LINE__);            \
            goto label;                                                                       \
        }                                                                                     \
    } while (0)

#define MT_CL_DID(dev, name, code)                                                            \
    do {                                                                                      \
        if ((code) != CL_SUCCESS) {                                                           \
            return mt_cl_raise((dev), (code), (name), __func__, __FILE__, __LINE__);          \
        }                                                                                     \
    } while (0)

#endif
