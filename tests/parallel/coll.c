/* coll.c -- proves: mt_reduce gives the bits of ((r0 + r1) + r2) + ... on every rank, for lengths
 * from 0 to several chunks, whichever way it takes, for lengths below the number of ranks, several
 * sums in flight at once and one after the other, for groups of some ranks and with members that
 * only receive; it asks for no memory after mt_reduce_new and writes nothing outside; so do sums in
 * memory that the ranks share, of arrays that lie there and of arrays that do not, and no name of
 * it is left. mt_collect brings the parts of all ranks, in the order of the group, for parts of any
 * length. All of this also for sums that travel as bf16, which are the bits of
 * B((B(r0) + B(r1)) + ...).
 * Ranks: 1 2 3 4 5 */
#define _POSIX_C_SOURCE 200809L
#include "job.h"

#include "base/rng.h"

#include <dirent.h>
#include <math.h>
#include <unistd.h>

enum { FLIGHT = 3, GUARD = 4 };

/* A number of rank r whose exponent varies so much that another order gives another sum; now and
 * then one halfway between two of bf16, or one that bf16 has no room for. */
static float number(int r, uint64_t e)
{
    struct mt_rng_key key = mt_rng_key(7, MT_RNG_TEST, (uint64_t)r);
    uint32_t u = mt_rng_u32(key, e);

    if (e % 7 == 3) {
        return ldexpf((float)(257 + u % 255), (int)(u & 15u) - 20);
    }
    if (e % 1009 == 11) {
        return r == 0 ? 3.4e38f : 1.0f;
    }
    return ldexpf((float)(u >> 8) - 8388608.0f, (int)(u & 15u) - 20);
}

/* To the nearest of bf16, even if two are: 8 binary digits. */
static float rounded(float v)
{
    int exponent;
    double digits = nearbyint(ldexp(frexp((double)v, &exponent), 8));

    return (float)ldexp(digits, exponent - 8);   /* 2^128 becomes infinity */
}

static void fill(const struct job *j, float *x, int64_t n, uint64_t from)
{
    for (int64_t e = 0; e < n; e++) {
        x[e] = number(j->rank, from + (uint64_t)e);
    }
    for (int64_t e = n; e < n + GUARD; e++) {
        x[e] = -77.0f;
    }
}

/* adds: by rank, whether its numbers count; NULL: all. */
static void compare(struct job *j, const float *x, int64_t n, uint64_t from, const char *adds,
                    int bf16)
{
    int64_t wrong = 0, at = -1;

    for (int64_t e = 0; e < n; e++) {
        float s = 0;
        int first = 1;

        for (int r = 0; r < j->size; r++) {
            float v = number(r, from + (uint64_t)e);

            if (adds == NULL || adds[r]) {
                v = bf16 ? rounded(v) : v;
                s = first ? v : s + v;
                first = 0;
            }
        }
        s = bf16 ? rounded(s) : s;
        if (memcmp(&s, &x[e], sizeof s) != 0) {
            wrong++;
            at = at < 0 ? e : at;
        }
    }
    for (int64_t e = n; e < n + GUARD; e++) {
        wrong += x[e] != -77.0f;
    }
    JOB_CHECK(j, wrong == 0, "%lld of %lld wrong, the first at %lld", (long long)wrong,
              (long long)n, (long long)at);
}

static void finish(struct job *j, struct mt_reduce *const *r, const int *order, int n)
{
    double since = mt_comm_clock();
    int open = n, done[FLIGHT] = {0};

    while (open > 0) {
        int peer = -1;

        for (int i = 0; i < n; i++) {
            int k = order[i];

            if (!done[k]) {
                JOB_DO(j, mt_reduce_test(r[k], &done[k]));
                open -= done[k];
                peer = done[k] ? peer : mt_reduce_peer(r[k]);
            }
        }
        if (open > 0) {
            JOB_DO(j, mt_comm_idle(j->comm, mt_comm_clock() - since, peer));
        }
    }
}

/* A sum is started by messages (share NULL), or in shared memory, `off` bytes from its start. */
struct how {
    struct mt_share *share;
    uint64_t off;
    int bf16;
};

static int start(const struct how *how, struct mt_reduce *r, const struct mt_group *group, int tag,
                 float *x, int64_t n)
{
    struct mt_sum sum = {.group = group, .tag = tag, .data = x, .n = n, .bf16 = how->bf16,
                         .placed = how->share != NULL, .off = how->off};

    return mt_reduce_start(r, &sum);
}

/* The ranks but the first one, and all ranks of which only every other one adds. */
static void some(struct job *j, const struct how *how, struct mt_reduce *r, float *x, int64_t n)
{
    int rank[64];
    char adds[64], others[64];
    struct mt_group rest = {.n = j->size - 1, .rank = rank};
    struct mt_group all = {.n = j->size, .adds = adds};

    for (int i = 0; i < j->size; i++) {
        rank[i] = i + 1;
        adds[i] = i % 2 == 1;
        others[i] = i > 0;
    }
    fill(j, x, n, 5);
    if (j->rank > 0) {
        JOB_DO(j, start(how, r, &rest, 7, x, n));
        finish(j, &r, (const int[]){0}, 1);
        compare(j, x, n, 5, others, how->bf16 && j->size > 2);
    } else {
        JOB_CHECK(j, start(how, r, &rest, 7, x, n) == MOTLEY_EARG, "not of them");
    }
    fill(j, x, n, 6);
    JOB_DO(j, start(how, r, &all, 7, x, n));
    finish(j, &r, (const int[]){0}, 1);
    compare(j, x, n, 6, adds, how->bf16);
}

static unsigned char byte(int rank, uint64_t e)
{
    return (unsigned char)(31 * (uint64_t)rank + 7 * e + e / 251);
}

/* Parts of 0, m, 2 m, ... bytes, of all ranks in falling order. */
static void parts_of_all(struct job *j, struct mt_collect *c, unsigned char *x, uint64_t m)
{
    int rank[64];
    struct mt_group all = {.n = j->size, .rank = rank};
    uint64_t n[64], total = 0, wrong = 0, at = 0;
    unsigned char *mine = NULL;
    double since = mt_comm_clock();
    int done = 0;

    for (int i = 0; i < j->size; i++) {
        rank[i] = j->size - 1 - i;
        n[i] = (uint64_t)i * m;
        total += rank[i] == j->rank ? 0 : n[i];
    }
    JOB_DO(j, MT_NEW_N(j->ctx, (uint64_t)j->size * m + 1, &mine));
    for (uint64_t e = 0; e < (uint64_t)j->size * m; e++) {
        mine[e] = byte(j->rank, e);
    }
    memset(x, 0x77, total + GUARD);
    JOB_DO(j, mt_collect_start(c, &all, 3, mine, x, n));
    while (!done) {
        JOB_DO(j, mt_collect_test(c, &done));
        if (!done) {
            JOB_DO(j, mt_comm_idle(j->comm, mt_comm_clock() - since, mt_collect_peer(c)));
        }
    }
    for (int i = 0; i < j->size; i++) {
        for (uint64_t e = 0; e < n[i] && rank[i] != j->rank; e++, at++) {
            wrong += x[at] != byte(rank[i], e);
        }
    }
    for (uint64_t e = total; e < total + GUARD; e++) {
        wrong += x[e] != 0x77;
    }
    JOB_CHECK(j, wrong == 0, "parts of %llu bytes: %llu wrong", (unsigned long long)m,
              (unsigned long long)wrong);
    mt_free(j->ctx, mine);
}

static const int64_t lengths[] = {0,   1,    2,    3,      4,      5,      7,      8,     15,
                                  100, 1023, 4097, 262143, 262144, 262145, 700001, 1200007};
enum { N = sizeof lengths / sizeof *lengths };

static void sums(struct job *j, const struct how *how, struct mt_reduce *const *r, float *const *x)
{
    int64_t before = mt_mem_requests(j->ctx);

    /* One after the other. */
    for (int i = 0; i < N; i++) {
        fill(j, x[0], lengths[i], 0);
        JOB_DO(j, start(&how[0], r[0], NULL, 0, x[0], lengths[i]));
        finish(j, r, (const int[]){0}, 1);
        compare(j, x[0], lengths[i], 0, NULL, how[0].bf16 && j->size > 1);
    }
    /* In flight together: started in one order, polled in another on every rank. */
    for (int i = 0; i < N; i++) {
        int order[FLIGHT];

        for (int k = 0; k < FLIGHT; k++) {
            fill(j, x[k], lengths[(i + k * 5) % N], (uint64_t)k * 1000000);
            order[k] = (k + j->rank) % FLIGHT;
        }
        for (int k = 0; k < FLIGHT; k++) {
            JOB_DO(j, start(&how[k], r[k], NULL, k, x[k], lengths[(i + k * 5) % N]));
        }
        finish(j, r, order, FLIGHT);
        for (int k = 0; k < FLIGHT; k++) {
            compare(j, x[k], lengths[(i + k * 5) % N], (uint64_t)k * 1000000, NULL,
                    how[k].bf16 && j->size > 1);
        }
    }
    for (int i = 0; i < N && j->size > 1; i++) {
        some(j, &how[0], r[0], x[0], lengths[i]);
    }
    JOB_CHECK(j, mt_mem_requests(j->ctx) == before, "%lld requests for memory",
              (long long)(mt_mem_requests(j->ctx) - before));
}

/* Sums by messages, each way and as chosen; with all numbers, and some as bf16. */
static void ways(struct job *j, struct mt_reduce *const *r, float *const *x)
{
    static const enum mt_way way[] = {MT_WAY_PARTS, MT_WAY_WHOLE, MT_WAY_AUTO};

    JOB_DO(j, mt_comm_gauge(j->comm));
    for (int w = 0; w < 3; w++) {
        for (int k = 0; k < FLIGHT; k++) {
            mt_reduce_wish(r[k], way[w]);
        }
        sums(j, (const struct how[FLIGHT]){{NULL, 0, 0}}, r, x);
        sums(j, (const struct how[FLIGHT]){{NULL, 0, 1}, {NULL, 0, 0}, {NULL, 0, 1}}, r, x);
        JOB_CHECK(j, way[w] == MT_WAY_AUTO || mt_reduce_way(r[0]) == way[w], "another way");
    }
}

/* A name of this process in the file system where Linux keeps shared memory. */
static int names_left(void)
{
    char mine[64];
    DIR *dir = opendir("/dev/shm");
    int n = 0;

    snprintf(mine, sizeof mine, "motley-%lld-", (long long)getpid());
    for (struct dirent *e = NULL; dir != NULL && (e = readdir(dir)) != NULL;) {
        n += strncmp(e->d_name, mine, strlen(mine)) == 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return n;
}

/* The arrays of odd ranks lie elsewhere, those of the others in the memory that is shared. */
static void shared_sums(struct job *j, struct mt_reduce *const *r, float *const *x)
{
    uint64_t each = (uint64_t)(lengths[N - 1] + GUARD) * sizeof **x;
    struct how how[FLIGHT];
    float *place[FLIGHT];
    struct mt_share *share;

    JOB_DO(j, mt_share_new(j->ctx, j->comm, FLIGHT * each, &share));
    JOB_CHECK(j, names_left() == 0, "%d names of shared memory are left", names_left());
    JOB_CHECK(j, j->size == 1 || mt_comm_info(j->comm)->node_size < j->size ||
                     mt_share_of(share, 0, 0, FLIGHT * each) != NULL,
              "ranks of one host share nothing");
    JOB_CHECK(j, mt_share_of(share, 0, 8, FLIGHT * each) == NULL, "more than there is");
    for (int k = 0; k < FLIGHT; k++) {
        how[k] = (struct how){share, (uint64_t)k * each, 0};
        place[k] = mt_share_of(share, j->rank, how[k].off, each);
        place[k] = place[k] == NULL || j->rank % 2 == 1 ? x[k] : place[k];
        JOB_DO(j, mt_reduce_beside(r[k], share));
    }
    sums(j, how, r, place);
    for (int k = 0; k < FLIGHT; k++) {
        how[k].bf16 = 1;
    }
    sums(j, how, r, place);
    JOB_DO(j, mt_comm_barrier(j->comm));
    mt_share_free(share);
}

int main(void)
{
    struct mt_reduce *r[FLIGHT] = {NULL};
    struct mt_collect *c = NULL;
    float *x[FLIGHT] = {NULL};
    struct job j;
    int done = 0, st;

    job_open(&j);
    for (int k = 0; k < FLIGHT; k++) {
        JOB_DO(&j, mt_reduce_new(j.ctx, j.comm, j.size, lengths[N - 1], 1, &r[k]));
        JOB_DO(&j, MT_NEW_N(j.ctx, lengths[N - 1] + GUARD, &x[k]));
    }
    ways(&j, r, x);
    shared_sums(&j, r, x);

    JOB_DO(&j, mt_collect_new(j.ctx, j.comm, j.size, &c));
    for (int i = 0; i < N && lengths[i] * j.size * j.size <= lengths[N - 1]; i++) {
        parts_of_all(&j, c, (unsigned char *)x[0], (uint64_t)lengths[i]);
    }
    st = mt_collect_test(c, &done);
    JOB_CHECK(&j, st == MOTLEY_EARG, "tested without a start: %d", st);
    st = mt_collect_start(c, &(struct mt_group){.n = j.size + 1}, 0, x[0], x[1],
                          (const uint64_t[]){0});
    JOB_CHECK(&j, st == MOTLEY_EARG, "more ranks than announced: %d", st);
    mt_collect_free(c);
    st = mt_reduce_test(r[0], &done);
    JOB_CHECK(&j, st == MOTLEY_EARG, "tested without a start: %d", st);
    st = mt_reduce_start(r[0], &(struct mt_sum){.data = x[0], .n = lengths[N - 1] + 1});
    JOB_CHECK(&j, st == MOTLEY_EARG, "longer than announced: %d", st);
    mt_reduce_free(r[0]);
    JOB_DO(&j, mt_reduce_new(j.ctx, j.comm, j.size, 1, 0, &r[0]));
    st = mt_reduce_start(r[0], &(struct mt_sum){.data = x[0], .n = 1, .bf16 = 1});
    JOB_CHECK(&j, st == MOTLEY_EARG, "as bf16 without a word before: %d", st);
    for (int k = 0; k < FLIGHT; k++) {
        mt_reduce_free(r[k]);
        mt_free(j.ctx, x[k]);
    }
    return job_close(&j);
}
