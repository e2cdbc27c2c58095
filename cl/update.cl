// update.cl -- loss statistics, gradient norm and scale; formulas in src/graph/update.c.
// Same bits on every device: fixed order of sums, same_div and same_sqrt.

// sums (3) and part (3): loss, count, hits. One group.
KERNEL void update_stats(OUT(sums), IN(part), uint acc)
{
    uint t = get_local_id(0);

    if (t < 3) {
        STORE_ACC(sums, t, LOAD(part, t), acc);
    }
}

// partial (number of groups): sum of squares of the elements that this group visits. g (n). acc:
// added to what is there.
KERNEL void update_norm(OUT(partial), IN(g), ulong n, uint acc)
{
    local float part[WG];
    float sum = 0.0f;

    for (ulong i = get_global_id(0); i < n; i += get_global_size(0)) {
        float v = LOAD(g, i);

        sum = fma(v, v, sum);
    }
    sum = group_sum(sum, part);
    if (get_local_id(0) == 0) {
        STORE_ACC(partial, get_group_id(0), sum, acc);
    }
}

// scalar: scale, norm, loss, count, hits (MT_SCALAR_*). stats (3). partial (parts): squares, zero
// without clipping. clip: largest norm, 0 for no limit. One group.
KERNEL void update_scale(OUT(scalar), IN(stats), IN(partial), uint parts, float clip)
{
    local float part[WG];
    uint t = get_local_id(0);
    float sum = 0.0f;

    for (uint i = t; i < parts; i += WG) {
        sum += LOAD(partial, i);
    }
    sum = group_sum(sum, part);
    if (t == 0) {
        float count = LOAD(stats, 1);
        float inv = count > 0.0f ? same_div(1.0f, count) : 0.0f;
        float norm = same_sqrt(sum) * inv;
        float limit = clip > 0.0f ? fmin(1.0f, same_div(clip, norm + 1e-6f)) : 1.0f;

        STORE(scalar, 0, inv * limit);
        STORE(scalar, 1, norm);
        STORE(scalar, 2, LOAD(stats, 0));
        STORE(scalar, 3, count);
        STORE(scalar, 4, LOAD(stats, 2));
    }
}
