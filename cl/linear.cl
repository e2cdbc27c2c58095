/* linear.cl -- the bias of a linear layer, and its gradient; formulas in src/ops/linear.c. The
 * products are gemm's. */

/* y[r,o] = b[o], one work-item per element. */
KERNEL void linear_first_bias(OUT_F32(y), IN(b), uint n, uint O)
{
    uint i = get_global_id(0);

    if (i < n) {
        AT(y, i) = LOAD(b, i % O);
    }
}

/* db[o] = sum_r g[r,o]. Lane l of a column sums rows l, l + LANES, ..., in blocks of 64 terms, and
 * the lanes are summed in a fixed tree. A group takes COLUMNS columns. */

#define LANES 8   /* sums of a column */

#if V == 16

/* A work-item is a group: LANES vectors of sums, in registers. */
#define COLUMNS 16

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void linear_bwd_bias(OUT_F32(db), IN(g), uint R, uint O, uint acc)
{
    uint o = (uint)get_group_id(0) * COLUMNS, have = min(O - o, (uint)COLUMNS);
    floatv sum[LANES];

    #pragma unroll
    for (uint l = 0; l < LANES; l++) {
        sum[l] = 0.0f;
    }
    for (uint r = 0; r < R;) {
        floatv block[LANES];

        #pragma unroll
        for (uint l = 0; l < LANES; l++) {
            block[l] = 0.0f;
        }
        for (uint k = 0; k < 64 && r < R; k++, r += LANES) {
            if (have == COLUMNS && r + LANES <= R) {
                #pragma unroll
                for (uint l = 0; l < LANES; l++) {
                    block[l] += LOADV(g, (ulong)(r + l) * O + o);
                }
            } else {
                for (uint l = 0; l < LANES && r + l < R; l++) {
                    for (uint c = 0; c < have; c++) {
                        ((float *)&block[l])[c] += LOAD(g, (ulong)(r + l) * O + o + c);
                    }
                }
            }
        }
        #pragma unroll
        for (uint l = 0; l < LANES; l++) {
            sum[l] += block[l];
        }
    }
    #pragma unroll
    for (uint span = LANES / 2; span > 0; span /= 2) {
        #pragma unroll
        for (uint l = 0; l < span; l++) {
            sum[l] += sum[l + span];
        }
    }
    for (uint c = 0; c < have; c++) {
        STORE_ACC_F32(db, o + c, ((float *)&sum[0])[c], acc);
    }
}

#else

#define COLUMNS (WG / LANES)

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

#endif
