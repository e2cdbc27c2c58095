// update.cl -- loss statistics, gradient norm and scale; formulas in src/graph/update.c.
// Same bits on every device: fixed order of sums, same_div and same_sqrt.

// sums (3) and part (3): loss, count, hits. One group.
KERNEL void update_stats(OUT_F32(sums), IN_F32(part), uint acc)
{
    uint t = get_local_id(0);

    if (t < 3) {
        STORE_ACC_F32(sums, t, AT(part, t), acc);
    }
}

// partial (number of groups): sum of squares of the elements that this group visits. g (n). acc:
// added to what is there.
KERNEL void update_norm(OUT_F32(partial), IN_F32(g), ulong n, uint acc)
{
    local float part[WG];
    float sum = 0.0f;

    for (ulong i = get_global_id(0); i < n; i += get_global_size(0)) {
        float v = AT(g, i);

        sum = fma(v, v, sum);
    }
    sum = group_sum(sum, part);
    if (get_local_id(0) == 0) {
        STORE_ACC_F32(partial, get_group_id(0), sum, acc);
    }
}

#if defined(FP16)
#define GROW  2000            // good steps after which the loss scale is doubled
#define MOST  16777216.0f     // largest loss scale reached that way
#define LEAST 5.9604645e-8f   // below, something else is wrong: MT_LOSS_SCALE_LEAST

// Whether the gradients of the step, of which sum is the sum of squares, are numbers; inv becomes
// the factor of gradients of the scaled loss. The scale is a power of two, so its reciprocal is
// exact. Next scale: half after a step that overflowed, double after GROW that did not.
static inline int next_loss_scale(OUT_F32(scalar), float sum, float *inv)
{
    float scale = AT(scalar, 5), streak = AT(scalar, 6) + 1.0f;

    *inv *= as_float(0x7f000000u - as_uint(scale));
    if (!isfinite(sum)) {
        AT(scalar, 5) = fmax(0.5f * scale, LEAST);
        AT(scalar, 6) = 0.0f;
        AT(scalar, 7) += 1.0f;
        return 0;
    }
    AT(scalar, 5) = streak >= GROW && scale < MOST ? 2.0f * scale : scale;
    AT(scalar, 6) = streak >= GROW ? 0.0f : streak;
    return 1;
}
#else
#define next_loss_scale(scalar, off, sum, inv) 1
#endif

// scalar: scale, norm, loss, count, hits, loss scale, good steps, skipped steps (MT_SCALAR_*).
// stats (3). partial (parts): squares, zero without clipping. clip: largest norm, 0 for no limit.
// One group.
KERNEL void update_scale(OUT_F32(scalar), IN_F32(stats), IN_F32(partial), uint parts, float clip)
{
    local float part[WG];
    uint t = get_local_id(0);
    float sum = 0.0f;

    for (uint i = t; i < parts; i += WG) {
        sum += AT(partial, i);
    }
    sum = group_sum(sum, part);
    if (t == 0) {
        float count = AT(stats, 1);
        float inv = count > 0.0f ? same_div(1.0f, count) : 0.0f;
        int good = next_loss_scale(scalar, scalar_off, sum, &inv);
        float norm = good ? same_sqrt(sum) * inv : 0.0f;
        float limit = clip > 0.0f ? fmin(1.0f, same_div(clip, norm + 1e-6f)) : 1.0f;

        AT(scalar, 0) = good ? inv * limit : 0.0f;
        AT(scalar, 1) = norm;
        AT(scalar, 2) = AT(stats, 0);
        AT(scalar, 3) = count;
        AT(scalar, 4) = AT(stats, 2);
    }
}
