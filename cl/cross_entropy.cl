/* cross_entropy.cl -- softmax cross entropy; formulas in src/ops/cross_entropy.c. */

/* One work-group per row: its loss, hit, maximum and sum. Three passes over the row. */
KERNEL void cross_entropy_fwd_rows(OUT_F32(loss), OUT_F32(hit), OUT_F32(max), OUT_F32(sum),
                                   IN(x), IN_I32(t), uint R, uint C, float smoothing)
{
    local float part[WG];
    uint r = get_group_id(0), lane = get_local_id(0);
    ulong row = (ulong)r * C;
    float m = -INFINITY, s = 0.0f, all = 0.0f, above = 0.0f;

    if (r >= R) {
        return;
    }
    int label = AT(t, r);
    int valid = label >= 0 && (uint)label < C;
    float at = valid ? LOAD(x, row + label) : NAN;

    for (uint c = lane; c < C; c += WG) {
        m = fmax(m, LOAD(x, row + c));
    }
    m = group_max(m, part);
    for (uint c = lane; c < C; c += WG) {
        float v = LOAD(x, row + c);

        s += exp(v - m);
        all += v - m;
        if (!(v < at || (v == at && c >= (uint)label))) {   /* NaN counts as above */
            above = 1.0f;
        }
    }
    s = group_sum(s, part);
    all = group_sum(all, part);
    above = group_max(above, part);
    if (lane == 0) {
        AT(max, r) = m;
        AT(sum, r) = s;
        AT(hit, r) = above > 0.0f ? 0.0f : 1.0f;
        AT(loss, r) = log(s) - (1.0f - smoothing) * (at - m) - smoothing * (all / (float)C);
    }
}

/* The same for few classes, one work-item per row: a group per row would mostly wait. */
KERNEL void cross_entropy_fwd_few(OUT_F32(loss), OUT_F32(hit), OUT_F32(max), OUT_F32(sum),
                                  IN(x), IN_I32(t), uint R, uint C, float smoothing)
{
    uint r = get_global_id(0);
    ulong row = (ulong)r * C;
    float m = -INFINITY, s = 0.0f, all = 0.0f, hits = 1.0f;

    if (r >= R) {
        return;
    }
    int label = AT(t, r);
    int valid = label >= 0 && (uint)label < C;
    float at = valid ? LOAD(x, row + label) : NAN;

    for (uint c = 0; c < C; c++) {
        m = fmax(m, LOAD(x, row + c));
    }
    for (uint c = 0; c < C; c++) {
        float v = LOAD(x, row + c);

        s += exp(v - m);
        all += v - m;
        if (!(v < at || (v == at && c >= (uint)label))) {   /* NaN counts as above */
            hits = 0.0f;
        }
    }
    AT(max, r) = m;
    AT(sum, r) = s;
    AT(hit, r) = hits;
    AT(loss, r) = log(s) - (1.0f - smoothing) * (at - m) - smoothing * (all / (float)C);
}

KERNEL void cross_entropy_fwd(OUT_F32(stats), IN_F32(loss), IN_F32(hit), uint R)
{
    local float part[WG];

    loss_stats(stats, stats_off, loss, loss_off, hit, hit_off, R, part);
}

/* One work-item per element. */
KERNEL void cross_entropy_bwd(OUT(dx), IN_F32(max), IN_F32(sum), IN(x), IN_I32(t),
                              IN_F32(scale), uint n, uint C, float smoothing, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        uint r = i / C, c = i % C;
        int label = AT(t, r);
        float v = exp(LOAD(x, i) - AT(max, r)) / AT(sum, r) - smoothing / (float)C;

        if (label < 0 || (uint)label >= C) {
            v = NAN;
        } else if (c == (uint)label) {
            v -= 1.0f - smoothing;
        }
        STORE_ACC(dx, i, SCALED(v, scale), acc);
    }
}
