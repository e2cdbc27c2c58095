/* bce.cl -- binary cross entropy with logits; formulas in src/ops/bce.c. */

/* Target i: a real number, or a class number in the same 32 bits. NaN if it is impossible. */
static inline float bce_target(global const float *t, ulong i, uint labels)
{
    float v = labels ? (float)as_int(t[i]) : t[i];

    return v >= 0.0f && v <= 1.0f ? v : NAN;
}

/* One work-group per sample of E numbers. */
KERNEL void bce_fwd_rows(OUT_F32(loss), OUT_F32(hit), IN(x), IN_F32(t), uint R, uint E,
                         uint labels)
{
    local float part[WG];
    uint r = get_group_id(0), lane = get_local_id(0);
    ulong row = (ulong)r * E;
    float sum = 0.0f, wrong = 0.0f;

    if (r >= R) {
        return;
    }
    for (uint e = lane; e < E;) {
        float block = 0.0f;   /* blocks of 64 terms, as in lane_sum */

        for (uint k = 0; k < 64 && e < E; k++, e += WG) {
            float v = LOAD(x, row + e), target = bce_target(t, t_off + row + e, labels);
            float term = -target * v + log1p(exp(-fabs(v)));

            if (v > 0.0f) {   /* no fmax: a NaN must pass */
                term += v;
            }
            block += term;
            if ((v > 0.0f) != (target > 0.5f) || isnan(term)) {
                wrong = 1.0f;
            }
        }
        sum += block;
    }
    sum = group_sum(sum, part);
    wrong = group_max(wrong, part);
    if (lane == 0) {
        AT(loss, r) = sum / (float)E;
        AT(hit, r) = 1.0f - wrong;
    }
}

KERNEL void bce_fwd(OUT_F32(stats), IN_F32(loss), IN_F32(hit), uint R)
{
    local float part[WG];

    loss_stats(stats, stats_off, loss, loss_off, hit, hit_off, R, part);
}

/* One work-item per element. */
KERNEL void bce_bwd(OUT(dx), IN(x), IN_F32(t), IN_F32(scale), uint n, uint E, uint labels,
                    uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float p = 1.0f / (1.0f + exp(-LOAD(x, i)));
        float v = (p - bce_target(t, t_off + i, labels)) / (float)E;

        STORE_ACC(dx, i, SCALED(v, scale), acc);
    }
}
