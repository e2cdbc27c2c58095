/* cross_entropy_parts.cl -- softmax cross entropy over classes that several processes have;
 * formulas in src/ops/cross_entropy_parts.c. The arithmetic of a row is that of
 * cross_entropy.cl. */

#define FIGURES 6   /* of a row of one part */

enum { NONE, HIT, MISS, NOT_A_NUMBER };

static inline void put(OUT(all), ulong at, float m, float s, float a, float t, float h, float k)
{
    STORE(all, at, m);
    STORE(all, at + 1, s);
    STORE(all, at + 2, a);
    STORE(all, at + 3, t);
    STORE(all, at + 4, h);
    STORE(all, at + 5, k);
}

/* Whether v keeps the label's x from being the first largest; of a part without the label only a
 * value that is no number does so here, the others are compared later. */
static inline int in_the_way(float v, uint c, int mine, float at, uint label)
{
    return mine ? !(v < at || (v == at && c >= label)) : v != v;
}

static inline float verdict(int mine, int above)
{
    return mine ? (above ? MISS : HIT) : (above ? NOT_A_NUMBER : NONE);
}

/* Columns [0, n) of x (R, ld) are classes first, first + 1, ... One work-group per row. */
KERNEL void cross_entropy_parts_rows(OUT(figures), IN(x), IN_I32(t), uint R, uint ld, uint first,
                                     uint n)
{
    local float part[WG];
    uint r = get_group_id(0), lane = get_local_id(0);
    ulong row = (ulong)r * ld;
    float m = -INFINITY, s = 0.0f, all = 0.0f, above = 0.0f;

    if (r >= R) {
        return;
    }
    uint label = (uint)LOAD(t, r) - first;   /* below `first`, and negative: far beyond n */
    int mine = LOAD(t, r) >= 0 && label < n;
    float at = mine ? LOAD(x, row + label) : 0.0f;

    for (uint c = lane; c < n; c += WG) {
        m = fmax(m, LOAD(x, row + c));
    }
    m = group_max(m, part);
    for (uint c = lane; c < n; c += WG) {
        float v = LOAD(x, row + c);

        s += exp(v - m);
        all += v - m;
        above = in_the_way(v, c, mine, at, label) ? 1.0f : above;
    }
    s = group_sum(s, part);
    all = group_sum(all, part);
    above = group_max(above, part);
    if (lane == 0) {
        put(figures, figures_off, (ulong)r * FIGURES, m, s, all, at, verdict(mine, above > 0.0f),
            (float)n);
    }
}

/* The same for few classes, one work-item per row. */
KERNEL void cross_entropy_parts_few(OUT(figures), IN(x), IN_I32(t), uint R, uint ld, uint first,
                                    uint n)
{
    uint r = get_global_id(0);
    ulong row = (ulong)r * ld;
    float m = -INFINITY, s = 0.0f, all = 0.0f;
    int above = 0;

    if (r >= R) {
        return;
    }
    uint label = (uint)LOAD(t, r) - first;
    int mine = LOAD(t, r) >= 0 && label < n;
    float at = mine ? LOAD(x, row + label) : 0.0f;

    for (uint c = 0; c < n; c++) {
        m = fmax(m, LOAD(x, row + c));
    }
    for (uint c = 0; c < n; c++) {
        float v = LOAD(x, row + c);

        s += exp(v - m);
        all += v - m;
        above |= in_the_way(v, c, mine, at, label);
    }
    put(figures, figures_off, (ulong)r * FIGURES, m, s, all, at, verdict(mine, above), (float)n);
}

/* One work-item per row: figures (R, P FIGURES) of P parts in the order of their classes. */
KERNEL void cross_entropy_parts_judge(OUT(loss), OUT(hit), OUT(max), OUT(sum), OUT(valid),
                                      IN(figures), uint R, uint P, uint C, float smoothing)
{
    uint r = get_global_id(0);
    ulong row = (ulong)r * P * FIGURES;
    float m = -INFINITY, s = 0.0f, all = 0.0f, at = NAN, ok = 0.0f;
    uint home = P;   /* the part that has the label */

    if (r >= R) {
        return;
    }
    for (uint p = 0; p < P; p++) {
        ulong f = row + p * FIGURES;
        float h = LOAD(figures, f + 4);

        if (LOAD(figures, f + 5) > 0.0f) {
            m = fmax(m, LOAD(figures, f));
        }
        if (h == HIT || h == MISS) {
            home = p;
            at = LOAD(figures, f + 3);
            ok = h == HIT ? 1.0f : 0.0f;
        }
    }
    for (uint p = 0; p < P; p++) {
        ulong f = row + p * FIGURES;
        float mp = LOAD(figures, f), k = LOAD(figures, f + 5);

        if (k > 0.0f) {
            s += LOAD(figures, f + 1) * exp(mp - m);
            all += LOAD(figures, f + 2) + k * (mp - m);
            if (p != home &&
                (LOAD(figures, f + 4) == NOT_A_NUMBER || !(mp < at || (mp == at && p > home)))) {
                ok = 0.0f;
            }
        }
    }
    STORE(max, r, m);
    STORE(sum, r, s);
    STORE(valid, r, home < P ? 1.0f : 0.0f);
    STORE(hit, r, ok);
    STORE(loss, r, log(s) - (1.0f - smoothing) * (at - m) - smoothing * (all / (float)C));
}

/* One work-item per element of dx (R, ld), of which n columns are classes. */
KERNEL void cross_entropy_parts_bwd(OUT(dx), IN(max), IN(sum), IN(valid), IN(x), IN_I32(t),
                                    uint N, uint ld, uint first, uint n, uint C, float smoothing,
                                    uint acc)
{
    uint i = get_global_id(0);

    if (i < N) {
        uint r = i / ld, c = i % ld;
        float v = 0.0f;

        if (c < n) {
            v = exp(LOAD(x, i) - LOAD(max, r)) / LOAD(sum, r) - smoothing / (float)C;
            if (LOAD(valid, r) == 0.0f) {
                v = NAN;
            } else if (LOAD(t, r) >= 0 && (uint)LOAD(t, r) - first == c) {
                v -= 1.0f - smoothing;
            }
        }
        STORE_ACC(dx, i, v, acc);
    }
}
