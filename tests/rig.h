/* rig.h -- one node with all its tensors, each between guards, filled and called: what the
 * checks of kit.c and the timing of runner.c work with. */
#ifndef MT_TESTS_RIG_H
#define MT_TESTS_RIG_H

#include "tests/kit.h"

#define MT_RIG_GUARD    64            /* elements before and behind a tensor */
#define MT_RIG_FILL     0x7fc0be00u   /* a quiet NaN that arithmetic does not produce; plus a
                                         number of the tensor, so that a copy is seen, too */
#define MT_RIG_FILL_HALF 0x7fc0u      /* likewise, as bf16 and as fp16 */
#define MT_RIG_MAXBLOCK 512

/* A tensor on the device, with its guards, and its content on the host. */
struct mt_slot {
    int used;
    struct mt_spec spec;     /* as planned */
    struct mt_buf *buf;
    uint32_t fill;           /* every element before anything is written */
    struct mt_tensor t;      /* rows as in the call */
    int64_t room, count;     /* elements planned, and present in the call */
    double *x;               /* inputs: the values */
    uint32_t *bits;          /* room + 2 guards, as read back: an element each, also if half a
                                word wide on the device */
};

struct mt_rig {
    const struct mt_suite *suite;
    const struct mt_case *c;
    const struct mt_check_opt *opt;
    struct mt_report *report;
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_node n;        /* bound, planned shapes */
    struct mt_node now;      /* shapes of the call: for references */
    int64_t rows, planned;
    struct mt_slot in[MT_MAXIN], out[MT_MAXIN], din[MT_MAXIN], dout[MT_MAXIN];
    struct mt_slot param[MT_MAXPARAM], dparam[MT_MAXPARAM], state[MT_MAXPARAM];
    struct mt_slot saved[MT_MAXPARAM], scratch, scale;
    double loss_scale;       /* what a loss multiplies its gradient by */
    struct mt_io io;
    int nblock, nbuf;
    void *block[MT_RIG_MAXBLOCK];
    struct mt_buf *buffer[MT_RIG_MAXBLOCK];
};

/* b: suite, c, opt, report, ctx, dev set, the rest zero. Binds the node, makes the tensors. A
 * view has inputs only. mt_rig_fini also after failure. */
int mt_rig_new(struct mt_rig *b, const struct mt_node *like);
void mt_rig_fini(struct mt_rig *b);

/* Host memory of the rig; mt_rig_drop releases what was got since b->nblock was `mark`. */
int mt_rig_get(struct mt_rig *b, int64_t n, size_t size, void **p);
int mt_rig_doubles(struct mt_rig *b, int64_t n, double **p);
void mt_rig_drop(struct mt_rig *b, int mark);

/* The number of samples of the next calls; then draw inputs and cotangents and write them. */
void mt_rig_rows(struct mt_rig *b, int64_t rows);
int mt_rig_draw(struct mt_rig *b);

/* Arguments of a call into b->io; backward gets only what the operation says it keeps. */
void mt_rig_io(struct mt_rig *b, enum mt_mode mode, int backward);
int mt_rig_blank_outputs(struct mt_rig *b);     /* NaN */
int mt_rig_blank_gradients(struct mt_rig *b);
/* Blank, call, read back. */
int mt_rig_fwd(struct mt_rig *b, enum mt_mode mode);
int mt_rig_bwd(struct mt_rig *b);

/* Read back the used ones of n slots. */
int mt_rig_read(struct mt_slot *s, int n);
int mt_slot_read(struct mt_slot *s);
double mt_slot_value(const struct mt_slot *s, int64_t i);
/* A number as a word of a tensor, rounded to nearest, and back. */
uint32_t mt_slot_word(const struct mt_spec *spec, double x);
double mt_slot_number(const struct mt_spec *spec, uint32_t u);
/* Half an ulp of its numbers, relative, and of those near zero; 0 where results are f32. */
double mt_slot_half_ulp(const struct mt_spec *spec);
double mt_slot_tiny(const struct mt_spec *spec);
/* Guards, and what lies behind the samples present, must be as they were. s was read back. */
void mt_slot_guards(const struct mt_slot *s, const char *what, int i, struct mt_result *x);

#endif
