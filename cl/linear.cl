/* linear.cl -- gradient of the bias of a linear layer; formula in src/ops/linear.c. The
 * products are gemm's. */

#define COLUMNS 8               /* of one group; COLUMNS of src/ops/linear.c */
#define LANES   (WG / COLUMNS)  /* work-items that share a column */

/* db[o] = sum_r g[r,o]. A group takes COLUMNS columns; lane l of a column sums rows l, l +
 * LANES, ..., in blocks of 64 terms, and the lanes are summed in a fixed tree. */
KERNEL void linear_bwd_bias(OUT_F32(db), IN(g), uint R, uint O, uint acc)
{
    local float part[WG];
    uint t = get_local_id(0), c = t % COLUMNS, lane = t / COLUMNS;
    uint o = (uint)get_group_id(0) * COLUMNS + c;
    float sum = 0.0f;

    for (uint r = lane; o < O && r < R;) {
        float block = 0.0f;

        for (uint k = 0; k < 64 && r < R; k++, r += LANES) {
            block += LOAD(g, (ulong)r * O + o);
        }
        sum += block;
    }
    part[t] = sum;
    for (uint span = LANES / 2; span > 0; span /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < span) {
            part[t] += part[t + span * COLUMNS];
        }
    }
    if (lane == 0 && o < O) {
        STORE_ACC_F32(db, o, part[t], acc);
    }
}
