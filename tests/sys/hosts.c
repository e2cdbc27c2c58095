/* hosts.c -- hosts of a test's own making, on one kernel, with links of a given rate and delay.
 *
 *     hosts COUNT RATE DELAY FOLDER
 *
 * Each host has its own name (h1, h2, ...), network, processes, shared memory and /etc/hosts;
 * files are common. The hosts are reached from one more, `front`, whose processes see those of
 * all: number P in FOLDER/front is its first process, so `nsenter -t P -a` is there, and from there
 * nsenter with the number in FOLDER/h<i> is on that host. FOLDER/ready is written last. When this
 * program ends, however it ends, the kernel ends the hosts and all that runs on them; nothing
 * outside of them was changed, so nothing is left over.
 *
 * The network is the first process of `front`: every host has one point-to-point device (tun),
 * and packets read from one are written to another when they are due. Model of a network card and
 * a switch: host i sends and host j receives RATE bits a second each, in both directions at once,
 *
 *     begin = max(now, sender free, receiver free)      free = begin + bits / RATE
 *     due = free + DELAY
 *
 * DELAY in seconds, one way. A packet is fetched only when the sender is nearly free, so the
 * backlog stays with the sender's TCP as before a real card, and nothing is dropped. Packets are as
 * long as TCP makes them (segmentation off-loaded, up to 64 KiB), which is what keeps this cheap.
 * RATE 0: no limit. Not tc: netem, which would delay, is missing from many kernels. */
#define _GNU_SOURCE
#include <stdio.h>

#if defined __linux__

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST     16
#define PACKET   (64 * 1024 + 256)   /* and the header of the off-load */
#define HEADER   10                  /* struct virtio_net_hdr */
#define AHEAD_NS 200000              /* a packet is fetched so long before the sender is free */

struct packet {
    struct packet *next;
    int64_t due;
    size_t bytes;
    char data[];
};

struct host {
    int tun;
    int64_t sends_at, gets_at;       /* free from then on */
    struct packet *first, **last;    /* on their way to it, in the order they are due */
};

static struct host host[MOST + 1];   /* 0: front */
static int count;                    /* without front */

static void give_up(const char *what)
{
    fprintf(stderr, "hosts: %s: %s\n", what, strerror(errno));
    exit(errno == EPERM || errno == EACCES || errno == ENOENT || errno == ENODEV ? 77 : 1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- making hosts ------------------------------------------------------------------------- */

static void set_address(int s, struct ifreq *r, unsigned long what, const char *text)
{
    struct sockaddr_in *a = (struct sockaddr_in *)(void *)&r->ifr_addr;

    memset(a, 0, sizeof *a);
    a->sin_family = AF_INET;
    inet_pton(AF_INET, text, &a->sin_addr);
    if (ioctl(s, what, r) < 0) {
        give_up("address");
    }
}

static void raise_device(int s, const char *name)
{
    struct ifreq r = {0};

    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(s, SIOCSIFFLAGS, &r) < 0) {
        give_up(name);
    }
}

/* A device of this process's network, 10.77.0.<number>. */
static int make_tun(int number)
{
    struct ifreq r = {0};
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char address[32];

    if (tun < 0) {
        give_up("/dev/net/tun");
    }
    snprintf(r.ifr_name, sizeof r.ifr_name, "net0");
    r.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    if (s < 0 || ioctl(tun, TUNSETIFF, &r) < 0 ||
        ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0) {
        give_up("device net0");
    }
    snprintf(address, sizeof address, "10.77.0.%d", number);
    set_address(s, &r, SIOCSIFADDR, address);
    set_address(s, &r, SIOCSIFNETMASK, "255.255.255.0");
    raise_device(s, "net0");
    raise_device(s, "lo");
    close(s);
    return tun;
}

/* What the first process of a host sees, and sees to. */
static void settle(const char *names)
{
    signal(SIGCHLD, SIG_IGN);   /* orphans are its children; nobody waits for them */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("proc", "/proc", "proc", 0, NULL) < 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) < 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL) < 0 ||
        mount(names, "/etc/hosts", NULL, MS_BIND, NULL) < 0) {
        give_up("files of a host");
    }
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[4200];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
        give_up(path);
    }
}

/* A process that is the first of its kind, with files of its own; 0 in the child. */
static long split(void)
{
    long pid = syscall(SYS_clone, SIGCHLD | CLONE_NEWPID | CLONE_NEWNS, 0, 0, 0, 0);

    if (pid < 0) {
        give_up("processes of a host");
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return pid;
}

static void write_names(const char *folder, char *path, size_t room)
{
    char names[(MOST + 2) * 32] = "127.0.0.1 localhost\n10.77.0.100 front\n";

    for (int i = 1; i <= count; i++) {
        size_t used = strlen(names);

        snprintf(names + used, sizeof names - used, "10.77.0.%d h%d\n", i, i);
    }
    write_file(folder, "names", names);
    snprintf(path, room, "%s/names", folder);
}

/* Front comes last: this process stays there. */
static void make_hosts(const char *folder)
{
    char path[4200], name[16], text[32];

    write_names(folder, path, sizeof path);
    for (int i = count; i >= 0; i--) {
        long pid;

        snprintf(name, sizeof name, i > 0 ? "h%d" : "front", i);
        if (unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) < 0 ||
            sethostname(name, strlen(name)) < 0) {
            give_up("a host of its own");
        }
        host[i].tun = make_tun(i > 0 ? i : 100);
        host[i].last = &host[i].first;
        pid = i > 0 ? split() : 0;
        if (pid == 0) {
            settle(path);
            while (i > 0) {
                pause();
            }
        } else {
            snprintf(text, sizeof text, "%ld\n", pid);
            write_file(folder, name, text);
        }
    }
}

/* ---- the network -------------------------------------------------------------------------- */

/* Packets of host i while it may send. */
static void fetch(int i, double rate, int64_t delay)
{
    static char data[PACKET];
    struct host *h = &host[i];

    while (h->sends_at < now_ns() + AHEAD_NS) {
        ssize_t bytes = read(h->tun, data, sizeof data);
        int64_t begin = now_ns(), took;
        struct packet *p;
        struct host *to;
        int j;

        if (bytes < HEADER + 20) {
            return;
        }
        /* IPv4 to 10.77.0.j; all else (IPv6's greetings) goes nowhere. */
        j = data[HEADER] >> 4 == 4 && memcmp(data + HEADER + 16, "\x0a\x4d\x00", 3) == 0
            ? data[HEADER + 19] : -1;
        j = j == 100 ? 0 : j;
        if (j < 0 || j > count || j == i) {
            continue;
        }
        to = &host[j];
        begin = begin > h->sends_at ? begin : h->sends_at;
        begin = begin > to->gets_at ? begin : to->gets_at;
        took = rate > 0 ? (int64_t)(8e9 * (double)(bytes - HEADER) / rate) : 0;
        h->sends_at = to->gets_at = begin + took;
        p = malloc(sizeof *p + (size_t)bytes);
        if (p == NULL) {
            give_up("memory");
        }
        p->next = NULL;
        p->due = begin + took + delay;
        p->bytes = (size_t)bytes;
        memcpy(p->data, data, (size_t)bytes);
        *to->last = p;
        to->last = &p->next;
    }
}

static void deliver(struct host *h)
{
    struct packet *p;

    while ((p = h->first) != NULL && p->due <= now_ns()) {
        if (write(h->tun, p->data, p->bytes) < 0 && errno == EAGAIN) {
            return;
        }
        h->first = p->next;
        if (h->first == NULL) {
            h->last = &h->first;
        }
        free(p);
    }
}

static void run_network(double rate, int64_t delay)
{
    struct pollfd fd[MOST + 1];

    for (;;) {
        int64_t next = INT64_MAX, now;
        struct timespec t;

        for (int i = 0; i <= count; i++) {
            fetch(i, rate, delay);
        }
        for (int i = 0; i <= count; i++) {
            deliver(&host[i]);
        }
        now = now_ns();
        for (int i = 0; i <= count; i++) {
            int64_t at = host[i].sends_at - AHEAD_NS;
            int full = at >= now;

            fd[i] = (struct pollfd){.fd = full ? -1 : host[i].tun, .events = POLLIN};
            next = full && at < next ? at : next;
            if (host[i].first != NULL && host[i].first->due < next) {
                next = host[i].first->due;
            }
        }
        next = next > now ? next - now : 0;
        t = (struct timespec){.tv_sec = (time_t)(next / 1000000000),
                              .tv_nsec = (long)(next % 1000000000)};
        ppoll(fd, (nfds_t)count + 1, &t, NULL);
    }
}

static void be_front(char **argv)
{
    struct sched_param first = {.sched_priority = 1};

    make_hosts(argv[4]);
    /* A network does not wait for the processors of those who use it. */
    if (sched_setscheduler(0, SCHED_RR, &first) < 0) {
        fprintf(stderr, "hosts: priority: %s; delays will be longer\n", strerror(errno));
    }
    write_file(argv[4], "ready", "");
    run_network(atof(argv[2]), (int64_t)(1e9 * atof(argv[3])));
}

int main(int argc, char **argv)
{
    char text[32];
    int status;
    long pid;

    count = argc == 5 ? atoi(argv[1]) : 0;
    if (count < 1 || count > MOST) {
        fprintf(stderr, "usage: hosts COUNT RATE DELAY FOLDER, at most %d hosts\n", MOST);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    pid = split();
    if (pid == 0) {
        be_front(argv);
    }
    snprintf(text, sizeof text, "%ld\n", pid);
    write_file(argv[4], "front", text);
    return waitpid((pid_t)pid, &status, 0) > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#else

int main(void)
{
    fprintf(stderr, "hosts: namespaces are a feature of Linux\n");
    return 77;
}

#endif
