/* cross_entropy_parts.cl -- softmax cross entropy over classes that several processes have;
 * formulas in src/ops/cross_entropy_parts.c. The arithmetic of a row is that of
 * cross_entropy.cl. */

#define FIGURES 6   /* of a row of one part */

enum { NONE, HIT, MISS, NOT_A_NUMBER };

static inline void put(OUT_F32(all), ulong at, float m, float s, float a, float t, float h,
                       float k)
{
    AT(all, at) = m;
    AT(all, at + 1) = s;
    AT(all, at + 2) = a;
    AT(all, at + 3) = t;
    AT(all, at + 4) = h;
    AT(all, at + 5) = k;
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
KERNEL void cross_entropy_parts_rows(OUT_F32(figures), IN(x), IN_I32(t), uint R, uint ld,
                                     uint first, uint n)
{
    local float part[WG];
    uint r = get_group_id(0), lane = get_local_id(0);
    ulong row = (ulong)r * ld;
    float m = -INFINITY, s = 0.0f, all = 0.0f, above = 0.0f;

    if (r >= R) {
        return;
    }
    uint label = (uint)AT(t, r) - first;   /* below `first`, and negative: far beyond n */
    int mine = AT(t, r) >= 0 && label < n;
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
KERNEL void cross_entropy_parts_few(OUT_F32(figures), IN(x), IN_I32(t), uint R, uint ld,
                                    uint first, uint n)
{
    uint r = get_global_id(0);
    ulong row = (ulong)r * ld;
    float m = -INFINITY, s = 0.0f, all = 0.0f;
    int above = 0;

    if (r >= R) {
        return;
    }
    uint label = (uint)AT(t, r) - first;
    int mine = AT(t, r) >= 0 && label < n;
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
KERNEL void cross_entropy_parts_judge(OUT_F32(loss), OUT_F32(hit), OUT_F32(max), OUT_F32(sum),
                                      OUT_F32(valid), IN_F32(figures), uint R, uint P,
                                      uint C, float smoothing)
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
        float h = AT(figures, f + 4);

        if (AT(figures, f + 5) > 0.0f) {
            m = fmax(m, AT(figures, f));
        }
        if (h == HIT || h == MISS) {
            home = p;
            at = AT(figures, f + 3);
            ok = h == HIT ? 1.0f : 0.0f;
        }
    }
    for (uint p = 0; p < P; p++) {
        ulong f = row + p * FIGURES;
        float mp = AT(figures, f), k = AT(figures, f + 5);

        if (k > 0.0f) {
            s += AT(figures, f + 1) * exp(mp - m);
            all += AT(figures, f + 2) + k * (mp - m);
            if (p != home &&
                (AT(figures, f + 4) == NOT_A_NUMBER || !(mp < at || (mp == at && p > home)))) {
                ok = 0.0f;
            }
        }
    }
    AT(max, r) = m;
    AT(sum, r) = s;
    AT(valid, r) = home < P ? 1.0f : 0.0f;
    AT(hit, r) = ok;
    AT(loss, r) = log(s) - (1.0f - smoothing) * (at - m) - smoothing * (all / (float)C);
}

/* One work-item per element of dx (R, ld), of which n columns are classes. */
KERNEL void cross_entropy_parts_bwd(OUT(dx), IN_F32(max), IN_F32(sum), IN_F32(valid), IN(x),
                                    IN_I32(t), IN_F32(scale), uint N, uint ld, uint first, uint n,
                                    uint C, float smoothing, uint acc)
{
    uint i = get_global_id(0);

    if (i < N) {
        uint r = i / ld, c = i % ld;
        float v = 0.0f;

        if (c < n) {
            v = exp(LOAD(x, i) - AT(max, r)) / AT(sum, r) - smoothing / (float)C;
            if (AT(valid, r) == 0.0f) {
                v = NAN;
            } else if (AT(t, r) >= 0 && (uint)AT(t, r) - first == c) {
                v -= 1.0f - smoothing;
            }
        }
        STORE_ACC(dx, i, SCALED(v, scale), acc);
    }
}
