/* comm.c -- proves: the small collectives on any number of ranks; sums have the bits of the rank
 * order; long messages are cut and arrive whole; a failing rank's words reach all; a silent peer
 * ends a wait with its name; sizes that do not match are an error; small collectives ask for no
 * memory.
 * Ranks: 1 2 3 4 */
#define _POSIX_C_SOURCE 200809L
#include "job.h"

#include "comm/link.h"

#include <time.h>

static void pause_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    nanosleep(&t, NULL);
}

static void wait_for(struct job *j, int req, int peer)
{
    double since = mt_comm_clock();
    int done = 0;

    JOB_DO(j, mt_comm_test(j->comm, req, &done));
    while (!done) {
        JOB_DO(j, mt_comm_idle(j->comm, mt_comm_clock() - since, peer));
        JOB_DO(j, mt_comm_test(j->comm, req, &done));
    }
}

static void info(struct job *j)
{
    const struct mt_comm_info *i = mt_comm_info(j->comm);
    const char *said = getenv("OMPI_COMM_WORLD_SIZE"), *pmi = getenv("PMI_SIZE");
    char who[256], want[256];

    said = said != NULL ? said : pmi;
    JOB_CHECK(j, i->size == (said != NULL ? atoi(said) : 1), "%d", i->size);
    JOB_CHECK(j, i->rank >= 0 && i->rank < i->size, "%d", i->rank);
    /* The tests run on one host. */
    JOB_CHECK(j, i->node_rank == i->rank && i->node_size == i->size && i->node == 0, "%d %d %d",
              i->node_rank, i->node_size, i->node);
    JOB_CHECK(j, i->host[0] != '\0' && i->transport[0] != '\0', "no names");
    JOB_CHECK(j, (i->size == 1) || strcmp(i->transport, "self") != 0, "%s", i->transport);

    snprintf(want, sizeof want, "rank %d (host %s)", i->size - 1, i->host);
    mt_comm_who(j->comm, i->size - 1, who, sizeof who);
    JOB_CHECK(j, strcmp(who, want) == 0, "%s", who);
    snprintf(want, sizeof want, "toy %d", j->rank);
    JOB_DO(j, mt_comm_describe(j->comm, want));
    for (int r = 0; r < j->size; r++) {
        snprintf(want, sizeof want, "rank %d (host %s, toy %d)", r, i->host, r);
        mt_comm_who(j->comm, r, who, sizeof who);
        JOB_CHECK(j, strcmp(who, want) == 0, "%s", who);
    }
}

static unsigned char byte_of(int rank, int i)
{
    return (unsigned char)(rank * 37 + i * 11 + 5);
}

static void gather_and_bcast(struct job *j)
{
    enum { MOST = 1000 };
    static unsigned char mine[MOST], all[MOST * 16];

    for (int n = 0; n <= MOST; n = n * 3 + 1) {
        int wrong = 0;

        for (int i = 0; i < n; i++) {
            mine[i] = byte_of(j->rank, i);
        }
        JOB_DO(j, mt_comm_allgather(j->comm, mine, (size_t)n, all));
        for (int r = 0; r < j->size; r++) {
            for (int i = 0; i < n; i++) {
                wrong += all[r * n + i] != byte_of(r, i);
            }
        }
        JOB_CHECK(j, wrong == 0, "allgather of %d bytes: %d wrong", n, wrong);
        for (int root = 0; root < j->size; root++) {
            wrong = 0;
            for (int i = 0; i < n; i++) {
                mine[i] = byte_of(j->rank, i);
            }
            JOB_DO(j, mt_comm_bcast(j->comm, mine, (size_t)n, root));
            for (int i = 0; i < n; i++) {
                wrong += mine[i] != byte_of(root, i);
            }
            JOB_CHECK(j, wrong == 0, "bcast of %d bytes from %d: %d wrong", n, root, wrong);
        }
    }
}

/* Numbers whose sum depends on the order: 1, 2^60, -2^60, 3, ... */
static double awkward(int rank, int i)
{
    double big = (double)((uint64_t)1 << (50 + i % 10));

    return rank % 3 == 0 ? 1.0 + i : rank % 3 == 1 ? big : -big;
}

static void sums(struct job *j)
{
    double x[5];
    int64_t before;

    before = mt_mem_requests(j->ctx);
    for (int n = 0; n <= 5; n++) {
        for (int i = 0; i < n; i++) {
            x[i] = awkward(j->rank, i);
        }
        JOB_DO(j, mt_comm_sum(j->comm, x, n));
        for (int i = 0; i < n; i++) {
            double want = awkward(0, i);

            for (int r = 1; r < j->size; r++) {
                want += awkward(r, i);
            }
            JOB_CHECK(j, x[i] == want, "sum %d of %d: %.17g, not %.17g", i, n, x[i], want);
        }
    }
    JOB_DO(j, mt_comm_barrier(j->comm));
    JOB_DO(j, mt_comm_agree(j->comm, MOTLEY_OK));
    JOB_CHECK(j, mt_mem_requests(j->ctx) == before, "small collectives asked for memory");
}

/* Nobody leaves before the last has come: by the clock of the host, which all share. */
static void barriers(struct job *j)
{
    for (int late = 0; late < j->size; late++) {
        double came, left;

        pause_ms(j->rank == late ? 50 : 0);
        came = mt_comm_clock();
        JOB_DO(j, mt_comm_barrier(j->comm));
        left = mt_comm_clock();
        JOB_DO(j, mt_comm_bcast(j->comm, &came, sizeof came, late));
        JOB_CHECK(j, left >= came, "left a barrier %.6f s before rank %d came", came - left,
                  late);
    }
}

static void messages(struct job *j)
{
    enum { N = 200001 };
    static unsigned char out[N], in[N];
    struct mt_comm *c = j->comm;
    int next = (j->rank + 1) % j->size, before = (j->rank + j->size - 1) % j->size;
    int req[2], wrong = 0;
    size_t piece = c->piece;

    JOB_CHECK(j, mt_comm_send(c, out, 1, j->rank, 0, req) == MOTLEY_EARG, "sent to itself");
    JOB_CHECK(j, mt_comm_recv(c, in, 1, j->size, 0, req) == MOTLEY_EARG, "no such rank");
    if (j->size == 1) {
        return;
    }
    for (int i = 0; i < N; i++) {
        out[i] = byte_of(j->rank, i);
    }
    c->piece = 1000;   /* as if MPI could send no more at once: 201 pieces, the last of 1 byte */
    JOB_DO(j, mt_comm_recv(c, in, N, before, 7, &req[0]));
    JOB_DO(j, mt_comm_send(c, out, N, next, 7, &req[1]));
    wait_for(j, req[0], before);
    wait_for(j, req[1], next);
    c->piece = piece;
    for (int i = 0; i < N; i++) {
        wrong += in[i] != byte_of(before, i);
    }
    JOB_CHECK(j, wrong == 0, "message in pieces: %d wrong", wrong);

    /* To other hosts, as if each rank were one: shorter pieces, and a message given up. */
    size_t far = c->far_piece;
    int64_t lead[16];

    JOB_CHECK(j, far < 64 << 10, "pieces of %zu bytes to other hosts", far);
    for (int r = 0; r < j->size; r++) {
        lead[r] = c->peer[r].card.lead;
        c->peer[r].card.lead = -1;
    }
    memset(in, 0, sizeof in);
    c->far_piece = 700;
    JOB_DO(j, mt_comm_recv(c, in, N, before, 7, &req[0]));
    JOB_DO(j, mt_comm_send(c, out, N, next, 7, &req[1]));
    wait_for(j, req[0], before);
    wait_for(j, req[1], next);
    JOB_DO(j, mt_comm_recv(c, in, N, before, 4000, &req[0]));   /* nobody sends that */
    mt_comm_cancel(c, req[0]);
    JOB_CHECK(j, c->cut == 0, "%d messages with pieces to come", c->cut);
    c->far_piece = far;
    for (int r = 0; r < j->size; r++) {
        c->peer[r].card.lead = lead[r];
    }
    wrong = 0;
    for (int i = 0; i < N; i++) {
        wrong += in[i] != byte_of(before, i);
    }
    JOB_CHECK(j, wrong == 0, "message to another host: %d wrong", wrong);

    /* Ten at once, tested in the other order. */
    int many[20];
    memset(in, 0, sizeof in);
    for (int k = 0; k < 10; k++) {
        JOB_DO(j, mt_comm_recv(c, in + k * 100, 100, before, k, &many[k]));
        JOB_DO(j, mt_comm_send(c, out + k * 100, 100, next, k, &many[10 + k]));
    }
    for (int k = 19; k >= 0; k--) {
        wait_for(j, many[k], k < 10 ? before : next);
    }
    wrong = 0;
    for (int i = 0; i < 1000; i++) {
        wrong += in[i] != byte_of(before, i);
    }
    JOB_CHECK(j, wrong == 0, "ten messages: %d wrong", wrong);
}

static int raise_error(int code, const char *text)
{
    return mt_err_raise(code, "f", "tests/comm.c", 1, "%s", text);
}

static void agreement(struct job *j)
{
    char who[256], want[512];
    int last = j->size - 1, code;

    JOB_CHECK(j, mt_comm_agree(j->comm, MOTLEY_OK) == MOTLEY_OK, "nobody failed");

    /* one */
    mt_err_clear();
    code = j->rank == last ? raise_error(MOTLEY_EFILE, "data: no such file") : MOTLEY_OK;
    code = mt_comm_agree(j->comm, code);
    mt_comm_who(j->comm, last, who, sizeof who);
    snprintf(want, sizeof want, "%s: data: no such file", who);
    JOB_CHECK(j, code == MOTLEY_EFILE, "%d", code);
    JOB_CHECK(j, strcmp(mt_err_text(), j->size > 1 ? want : "data: no such file") == 0, "%s",
              mt_err_text());

    /* all but rank 0, in different ways; a stop gives way */
    if (j->size > 2) {
        code = j->rank == 0 ? MOTLEY_OK
               : j->rank == 1 ? raise_error(MOTLEY_ESTOP, "signal")
                              : raise_error(MOTLEY_EMEM, "no room");
        code = mt_comm_agree(j->comm, code);
        mt_comm_who(j->comm, 2, who, sizeof who);
        snprintf(want, sizeof want, "%s and %d more: no room", who, j->size - 2);
        JOB_CHECK(j, code == MOTLEY_EMEM, "%d", code);
        JOB_CHECK(j, strcmp(mt_err_text(), want) == 0, "%s", mt_err_text());
    }

    /* all alike */
    code = mt_comm_agree(j->comm, raise_error(MOTLEY_ECONFIG, "net.yaml:3:1: no"));
    JOB_CHECK(j, code == MOTLEY_ECONFIG, "%d", code);
    JOB_CHECK(j, strcmp(mt_err_text(), "net.yaml:3:1: no") == 0, "%s", mt_err_text());
}

/* The last rank says nothing for a while: the others stop waiting and can say for whom. */
static void silence(struct job *j)
{
    int last = j->size - 1, req, st = MOTLEY_OK, done = 0;
    char who[256], byte = 1;

    if (j->size == 1) {
        return;
    }
    if (j->rank == last) {
        pause_ms(600);
        for (int r = 0; r < last; r++) {
            JOB_DO(j, mt_comm_send(j->comm, &byte, 1, r, 3, &req));
            wait_for(j, req, r);
        }
    } else {
        double since = mt_comm_clock();

        mt_comm_watch(j->comm, 0.2, NULL);
        JOB_DO(j, mt_comm_recv(j->comm, &byte, 1, last, 3, &req));
        while (st == MOTLEY_OK && !done) {
            JOB_DO(j, mt_comm_test(j->comm, req, &done));
            st = mt_comm_idle(j->comm, mt_comm_clock() - since, last);
        }
        mt_comm_who(j->comm, last, who, sizeof who);
        JOB_CHECK(j, st == MOTLEY_ECOMM && strstr(mt_err_text(), who) == mt_err_text(), "%d %s",
                  st, mt_err_text());
        JOB_CHECK(j, mt_comm_clock() - since < 0.5, "%.3f s", mt_comm_clock() - since);
        mt_comm_watch(j->comm, 0, NULL);
        wait_for(j, req, last);
        j->comm->broken = 0;   /* it was a test: the job goes on */
    }
    JOB_DO(j, mt_comm_barrier(j->comm));

    /* Two ranks that do not do the same thing. */
    if (j->rank == 0) {
        JOB_DO(j, mt_comm_send(j->comm, "abc", 3, 1, 4, &req));
        wait_for(j, req, 1);
    } else if (j->rank == 1) {
        char room[8];

        st = done = 0;
        JOB_DO(j, mt_comm_recv(j->comm, room, sizeof room, 0, 4, &req));
        while (st == MOTLEY_OK && !done) {
            st = mt_comm_test(j->comm, req, &done);
        }
        JOB_CHECK(j, st == MOTLEY_ECOMM && strstr(mt_err_text(), "rank 0 ") != NULL, "%d %s", st,
                  mt_err_text());
    }
    JOB_DO(j, mt_comm_barrier(j->comm));
}

int main(void)
{
    struct job j;

    job_open(&j);
    info(&j);
    gather_and_bcast(&j);
    sums(&j);
    barriers(&j);
    messages(&j);
    agreement(&j);
    silence(&j);
    return job_close(&j);
}
