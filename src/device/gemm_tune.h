/* gemm_tune.h -- which provider and form is the fastest for a class of products on a device, as
 * `motley tune` measured it.
 *
 * The choices of a device lie in one file of the cache folder, which only mt_gemm_tune_save writes:
 * another choice gives other bits, so no run changes it. A file that is damaged or of another
 * version is ignored with one warning. */
#ifndef MT_DEVICE_GEMM_TUNE_H
#define MT_DEVICE_GEMM_TUNE_H

#include <stddef.h>

struct mt_dev;
struct mt_gemm;

#define MT_GEMM_FORM 256

struct mt_gemm_choice {
    char provider[16], form[MT_GEMM_FORM];
    double seconds;              /* of one product, when it was measured */
};

/* The choice for the class of g: types, transposes, one matrix or several, M, N and K in steps of
 * half a power of two. *choice is NULL if nothing was measured; borrowed until the next change. */
int mt_gemm_tuned(struct mt_dev *dev, const struct mt_gemm *g,
                  const struct mt_gemm_choice **choice);
/* The form that a provider takes on this device as a whole, "" if none was found: for clblast,
 * which has one set of parameters per device. */
int mt_gemm_tuned_form(struct mt_dev *dev, const char *provider, const char **form);

/* For `motley tune`, in memory until saved. */
int mt_gemm_tune_set(struct mt_dev *dev, const struct mt_gemm *g,
                     const struct mt_gemm_choice *choice);
int mt_gemm_tune_form(struct mt_dev *dev, const char *provider, const char *form);
/* From here on nothing counts as measured; what was is still saved beside what is set later,
 * unless `forget`. */
int mt_gemm_tune_hide(struct mt_dev *dev, int forget);
/* Writes the file; path (room bytes) gets its name, "" where there is no cache folder. */
int mt_gemm_tune_save(struct mt_dev *dev, char *path, size_t room);
void mt_gemm_tuning_free(struct mt_dev *dev);

#endif
