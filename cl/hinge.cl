/* hinge.cl -- hinge loss, one class against all others; formulas in src/ops/hinge.c. */

/* +1 or -1: the side on which class c of C should lie for a label; NaN if the label is no
 * class. One class alone: labels 0 and 1 are the two sides. */
static inline float hinge_side(int label, uint c, uint C)
{
    uint classes = C == 1 ? 2 : C;
    uint own = C == 1 ? 1 : c;

    if (label < 0 || (uint)label >= classes) {
        return NAN;
    }
    return (uint)label == own ? 1.0f : -1.0f;
}

/* One work-group per row of C classes. */
KERNEL void hinge_fwd_rows(OUT_F32(loss), OUT_F32(hit), IN(x), IN_I32(t), uint R, uint C)
{
    local float part[WG];
    uint r = get_group_id(0), lane = get_local_id(0);
    ulong row = (ulong)r * C;
    float sum = 0.0f, wrong = 0.0f;

    if (r >= R) {
        return;
    }
    int label = AT(t, r);
    int valid = label >= 0 && (uint)label < C;
    float at = valid ? LOAD(x, row + label) : NAN;

    for (uint c = lane; c < C; c += WG) {
        float v = LOAD(x, row + c), side = hinge_side(label, c, C), gap = 1.0f - side * v;

        sum += gap <= 0.0f ? 0.0f : gap;   /* a NaN passes */
        if (C == 1 ? !((v > 0.0f) == (side > 0.0f) && !isnan(gap))
                   : !(v < at || (v == at && c >= (uint)label))) {
            wrong = 1.0f;
        }
    }
    sum = group_sum(sum, part);
    wrong = group_max(wrong, part);
    if (lane == 0) {
        AT(loss, r) = sum;
        AT(hit, r) = 1.0f - wrong;
    }
}

KERNEL void hinge_fwd(OUT_F32(stats), IN_F32(loss), IN_F32(hit), uint R)
{
    local float part[WG];

    loss_stats(stats, stats_off, loss, loss_off, hit, hit_off, R, part);
}

/* One work-item per element. */
KERNEL void hinge_bwd(OUT(dx), IN(x), IN_I32(t), IN_F32(scale), uint n, uint C, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float side = hinge_side(AT(t, i / C), i % C, C);
        float v = side * LOAD(x, i) >= 1.0f ? 0.0f : -side;

        STORE_ACC(dx, i, SCALED(v, scale), acc);
    }
}
