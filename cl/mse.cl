/* mse.cl -- mean squared error; formulas in src/ops/mse.c. */

/* One work-group per sample of E numbers. */
KERNEL void mse_fwd_rows(OUT_F32(loss), OUT_F32(hit), IN(x), IN_F32(t), uint R, uint E)
{
    local float part[WG];
    uint r = get_group_id(0), lane = get_local_id(0);
    ulong row = (ulong)r * E;
    float sum = 0.0f;

    if (r >= R) {
        return;
    }
    for (uint e = lane; e < E;) {
        float block = 0.0f;   /* blocks of 64 terms, as in lane_sum */

        for (uint k = 0; k < 64 && e < E; k++, e += WG) {
            float d = LOAD(x, row + e) - AT(t, row + e);

            block += d * d;
        }
        sum += block;
    }
    sum = group_sum(sum, part);
    if (lane == 0) {
        AT(loss, r) = sum / (float)E;
        AT(hit, r) = 0.0f;
    }
}

KERNEL void mse_fwd(OUT_F32(stats), IN_F32(loss), IN_F32(hit), uint R)
{
    local float part[WG];

    loss_stats(stats, stats_off, loss, loss_off, hit, hit_off, R, part);
}

/* One work-item per element; factor = 2 / E. */
KERNEL void mse_bwd(OUT(dx), IN(x), IN_F32(t), IN_F32(scale), uint n, float factor, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = factor * (LOAD(x, i) - AT(t, i));

        STORE_ACC(dx, i, SCALED(v, scale), acc);
    }
}
