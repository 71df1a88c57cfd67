/* Counts the system calls of a process and its children that change what lies below a folder, and disturbs one of them.

   A filter of the kernel (seccomp) stops each such call before it is executed, whoever makes it: Python, Arrow, HDF5,
   TensorFlow, the C library itself. The handler here counts it, disturbs it or not, and executes it. A program that
   the process starts keeps the filter; LD_PRELOAD brings it this library, whose constructor sets the handler again.

   FAULTS_COUNTING  begin: count from the start of the program on; begun: it was started by one that counts
   FAULTS_BELOW   the folder, without symbolic links
   FAULTS_STATE   a file outside of it, which all processes share: the calls so far
   FAULTS_PLACES  a file outside of it, or empty: one line for each call, its name and its path
   FAULTS_AT      the number of the call that is disturbed, from 1; 0 for none
   FAULTS_DO      kill before | kill after | kill half | stop | signal NUMBER, at that call;
                  ENOSPC | EIO | EMFILE | EINTR | short, from that call on */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#error "knows the registers of x86-64 only"
#endif

#define OURS 0x6661756cUL /* sixth argument of the calls that the handler makes: the filter lets them pass */
#define LENGTH 4096

enum kind { OPEN, WRITE, READ, SPACE, CHANGE };
enum what { NOTHING, KILL_BEFORE, KILL_AFTER, KILL_HALF, STOP, SIGNAL, NO_SPACE, BAD_DISK, NO_FILES, INTERRUPTED,
            SHORT };

/* `path` and `at` are the numbers of the arguments that name the file: a descriptor in `at`, a path or both. */
struct call {
    int number;
    const char *name;
    enum kind kind;
    int at, path;
};

static const struct call CALLS[] = {
    {SYS_write, "write", WRITE, 0, -1},
    {SYS_pwrite64, "pwrite", WRITE, 0, -1},
    {SYS_writev, "writev", WRITE, 0, -1},
    {SYS_pwritev, "pwritev", WRITE, 0, -1},
    {SYS_sendfile, "sendfile", SPACE, 0, -1},
    {SYS_fallocate, "fallocate", SPACE, 0, -1},
    {SYS_ftruncate, "ftruncate", SPACE, 0, -1},
    {SYS_truncate, "truncate", SPACE, -1, 0},
    {SYS_open, "open", OPEN, -1, 0},
    {SYS_creat, "creat", OPEN, -1, 0},
    {SYS_openat, "openat", OPEN, 0, 1},
    {SYS_mkdir, "mkdir", SPACE, -1, 0},
    {SYS_mkdirat, "mkdirat", SPACE, 0, 1},
    {SYS_mknod, "mknod", SPACE, -1, 0},
    {SYS_mknodat, "mknodat", SPACE, 0, 1},
    {SYS_link, "link", SPACE, -1, 1},
    {SYS_linkat, "linkat", SPACE, 2, 3},
    {SYS_symlink, "symlink", SPACE, -1, 1},
    {SYS_symlinkat, "symlinkat", SPACE, 1, 2},
    {SYS_rename, "rename", CHANGE, -1, 1},
    {SYS_renameat, "renameat", CHANGE, 2, 3},
    {SYS_renameat2, "renameat2", CHANGE, 2, 3},
    {SYS_unlink, "unlink", CHANGE, -1, 0},
    {SYS_unlinkat, "unlinkat", CHANGE, 0, 1},
    {SYS_rmdir, "rmdir", CHANGE, -1, 0},
    {SYS_fsync, "fsync", CHANGE, 0, -1},
    {SYS_fdatasync, "fdatasync", CHANGE, 0, -1},
    {SYS_sync_file_range, "sync_file_range", CHANGE, 0, -1},
    {SYS_syncfs, "syncfs", CHANGE, 0, -1},
    {SYS_utime, "utime", CHANGE, -1, 0},
    {SYS_utimes, "utimes", CHANGE, -1, 0},
    {SYS_futimesat, "futimesat", CHANGE, 0, 1},
    {SYS_utimensat, "utimensat", CHANGE, 0, 1},
    {SYS_chmod, "chmod", CHANGE, -1, 0},
    {SYS_fchmod, "fchmod", CHANGE, 0, -1},
    {SYS_fchmodat, "fchmodat", CHANGE, 0, 1},
    {SYS_chown, "chown", CHANGE, -1, 0},
    {SYS_lchown, "lchown", CHANGE, -1, 0},
    {SYS_fchown, "fchown", CHANGE, 0, -1},
    {SYS_fchownat, "fchownat", CHANGE, 0, 1},
    {SYS_setxattr, "setxattr", CHANGE, -1, 0},
    {SYS_lsetxattr, "lsetxattr", CHANGE, -1, 0},
    {SYS_fsetxattr, "fsetxattr", CHANGE, 0, -1},
    {SYS_read, "read", READ, 0, -1},
    {SYS_pread64, "pread", READ, 0, -1},
    {SYS_readv, "readv", READ, 0, -1},
    {SYS_preadv, "preadv", READ, 0, -1},
};
#define COUNT (sizeof CALLS / sizeof *CALLS)

/* Calls of six arguments, and other ways to the disk: the kernel says that it does not have them, and callers write. */
static const int ABSENT[] = {SYS_copy_file_range, SYS_pwritev2, SYS_preadv2, SYS_openat2, SYS_io_uring_setup};
#define ABSENT_COUNT (sizeof ABSENT / sizeof *ABSENT)

static char below[LENGTH];
static size_t below_length;
static long disturbed_call;
static enum what what;
static int signal_number;
static int places = -1;
static struct state {
    long calls, interruptions;
} *state;

static long raw(long number, long a, long b, long c, long d, long e) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = OURS;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static size_t follow(char *link, char *path) {
    long length = raw(SYS_readlink, (long)link, (long)path, LENGTH - 1, 0, 0);
    path[length > 0 ? length : 0] = 0;
    return length > 0 ? length : 0;
}

static size_t descriptor_path(int descriptor, char *path) {
    char link[32] = "/proc/self/cwd";
    if (descriptor != AT_FDCWD) {
        char digits[12];
        int count = 0, rest = descriptor;
        if (descriptor < 0)
            return path[0] = 0;
        do
            digits[count++] = '0' + rest % 10;
        while (rest /= 10);
        char *end = stpcpy(link, "/proc/self/fd/");
        while (count)
            *end++ = digits[--count];
        *end = 0;
    }
    return follow(link, path);
}

/* Where a call works; false if that is not below the folder. */
static int is_below(const struct call *call, const long *arguments, char *path) {
    const char *name = call->path < 0 ? 0 : (const char *)arguments[call->path];
    if (name && name[0] == '/')
        path[0] = 0;
    else if (!descriptor_path(call->at < 0 ? AT_FDCWD : (int)arguments[call->at], path))
        return 0;
    if (name && name[0]) {
        size_t length = strlen(path);
        if (length + strlen(name) + 2 > LENGTH)
            return 0;
        if (length)
            path[length++] = '/';
        strcpy(path + length, name);
    }
    return !strncmp(path, below, below_length) && (path[below_length] == '/' || !path[below_length]);
}

static int flags_of_open(const struct call *call, const long *arguments) {
    return call->number == SYS_creat ? O_CREAT | O_WRONLY : (int)arguments[call->path + 1];
}

static int changes(const struct call *call, const long *arguments) {
    if (call->kind == OPEN)
        return (flags_of_open(call, arguments) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0;
    return call->kind != READ;
}

/* The first half of what is to be read or written, at least a byte. */
static long half(const struct call *call, const long *a) {
    if (call->number == SYS_write || call->number == SYS_read)
        return raw(call->number, a[0], a[1], a[2] > 1 ? a[2] / 2 : a[2], 0, 0);
    if (call->number == SYS_pwrite64 || call->number == SYS_pread64)
        return raw(call->number, a[0], a[1], a[2] > 1 ? a[2] / 2 : a[2], a[3], 0);
    struct iovec parts[64];
    long count = a[2] < 64 ? a[2] : 64, whole = 0, kept = 0;
    memcpy(parts, (void *)a[1], count * sizeof *parts);
    for (long i = 0; i < count; i++)
        whole += parts[i].iov_len;
    for (long left = whole > 1 ? whole / 2 : whole; kept < count && left; kept++) {
        if (parts[kept].iov_len > (size_t)left)
            parts[kept].iov_len = left;
        left -= parts[kept].iov_len;
    }
    return raw(call->number, a[0], (long)parts, kept, a[3], a[4]);
}

static long executed(const struct call *call, const long *a) {
    return raw(call->number, a[0], a[1], a[2], a[3], a[4]);
}

static void kill_all(void) {
    for (;;)
        raw(SYS_kill, 0, SIGKILL, 0, 0, 0);
}

static void note(const struct call *call, const char *path) {
    char line[LENGTH + 64];
    char *end = stpcpy(stpcpy(stpcpy(line, call->name), "\t"), path + below_length);
    *end++ = '\n';
    raw(SYS_write, places, (long)line, end - line, 0, 0);
}

/* By a signal, with EINTR: never what changes names, nor what opens folders. */
static int may_be_interrupted(const struct call *call, const long *arguments) {
    if (call->kind == OPEN)
        return !(flags_of_open(call, arguments) & O_DIRECTORY);
    return call->kind == WRITE || call->kind == READ;
}

static long disturbed(const struct call *call, const long *a, const char *path, long number) {
    int here = number == disturbed_call, since = number >= disturbed_call;
    switch (what) {
    case KILL_BEFORE:
        if (here)
            kill_all();
        break;
    case KILL_HALF:
        if (here) {
            if (call->kind == WRITE)
                half(call, a);
            kill_all();
        }
        break;
    case KILL_AFTER: {
        long result = executed(call, a);
        if (here)
            kill_all();
        return result;
    }
    case STOP:
    case SIGNAL:
        if (here)
            raw(SYS_kill, raw(SYS_getpid, 0, 0, 0, 0, 0), what == STOP ? SIGSTOP : signal_number, 0, 0, 0);
        break;
    case NO_SPACE:
        if (!since)
            break;
        if (call->kind == WRITE || call->kind == SPACE)
            return -ENOSPC;
        if (call->kind == OPEN && flags_of_open(call, a) & O_CREAT
            && raw(SYS_faccessat, AT_FDCWD, (long)path, F_OK, 0, 0))
            return -ENOSPC;
        break;
    case BAD_DISK:
        if (since && changes(call, a))
            return -EIO;
        break;
    case NO_FILES:
        if (since && call->kind == OPEN)
            return -EMFILE;
        break;
    case INTERRUPTED: /* each second of the calls that a signal may interrupt */
        if (since && may_be_interrupted(call, a)
            && __atomic_fetch_add(&state->interruptions, 1, __ATOMIC_SEQ_CST) % 2 == 0)
            return -EINTR;
        break;
    case SHORT:
        if (since && (call->kind == WRITE || call->kind == READ))
            return half(call, a);
        break;
    case NOTHING:
        break;
    }
    return executed(call, a);
}

static void handle(int signal, siginfo_t *info, void *context) {
    (void)signal;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    long a[] = {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX], registers[REG_R10], registers[REG_R8]};
    const struct call *call = CALLS;
    while (call < CALLS + COUNT && call->number != info->si_syscall)
        call++;
    if (call == CALLS + COUNT) {
        registers[REG_RAX] = -ENOSYS;
        return;
    }
    char path[LENGTH];
    if (!is_below(call, a, path)) {
        registers[REG_RAX] = executed(call, a);
        return;
    }
    long number = __atomic_load_n(&state->calls, __ATOMIC_SEQ_CST);
    if (changes(call, a)) {
        number = __atomic_add_fetch(&state->calls, 1, __ATOMIC_SEQ_CST);
        if (places >= 0)
            note(call, path);
        registers[REG_RAX] = disturbed(call, a, path, number);
    } else /* only reads: no place, but what lasts from a place on strikes it too */
        registers[REG_RAX] = what >= NO_SPACE ? disturbed(call, a, path, number) : executed(call, a);
}

static void refuse(const char *why) {
    perror(why);
    _exit(99);
}

/* Reads the environment, and sets the handler. */
static void prepare(void) {
    static const char *const names[] = {"",        "kill before", "kill after", "kill half", "stop", "signal",
                                        "ENOSPC", "EIO",         "EMFILE",     "EINTR",     "short"};
    const char *asked = getenv("FAULTS_DO"), *log = getenv("FAULTS_PLACES");
    snprintf(below, sizeof below, "%s", getenv("FAULTS_BELOW"));
    below_length = strlen(below);
    disturbed_call = atol(getenv("FAULTS_AT"));
    if (!strncmp(asked, "signal ", 7))
        what = SIGNAL, signal_number = atoi(asked + 7);
    else
        while (strcmp(names[what], asked))
            if (++what == sizeof names / sizeof *names)
                refuse("FAULTS_DO");
    /* The handler first: where the filter is there already, opening these files meets it. */
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    if (sigaction(SIGSYS, &action, 0))
        refuse("the handler");
    if (log && *log && (places = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
        refuse(log);
    int file = open(getenv("FAULTS_STATE"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof *state))
        refuse("FAULTS_STATE");
    state = mmap(0, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (state == MAP_FAILED)
        refuse("FAULTS_STATE");
}

/* Programs that are started look for their libraries before the handler is there: they may read unasked, except here,
   where what is asked for strikes reading. */
static int strikes_reading(void) {
    return what == NO_FILES || what == SHORT || what == INTERRUPTED;
}

/* Begins to count, in this process and those that it starts. */
void faults_begin(void) {
    prepare();
    struct sock_filter program[8 + 5 * COUNT + 2 * ABSENT_COUNT];
    size_t length = 0;
#define LOAD(field) program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, field)
#define RETURN(value) program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, value)
#define UNLESS(test, value, skipped) \
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | (test) | BPF_K, value, 0, skipped)
    LOAD(offsetof(struct seccomp_data, args[5]));
    UNLESS(BPF_JEQ, OURS, 1);
    RETURN(SECCOMP_RET_ALLOW);
    LOAD(offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < ABSENT_COUNT; i++) {
        UNLESS(BPF_JEQ, ABSENT[i], 1);
        RETURN(SECCOMP_RET_ERRNO | ENOSYS);
    }
    for (const struct call *call = CALLS; call < CALLS + COUNT; call++) {
        if (call->kind == READ && !strikes_reading())
            continue;
        if (call->kind == OPEN && call->number != SYS_creat && !strikes_reading()) {
            UNLESS(BPF_JEQ, call->number, 4);
            LOAD(offsetof(struct seccomp_data, args) + 8 * (call->path + 1));
            UNLESS(BPF_JSET, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 1);
            RETURN(SECCOMP_RET_TRAP);
            RETURN(SECCOMP_RET_ALLOW);
        } else {
            UNLESS(BPF_JEQ, call->number, 1);
            RETURN(SECCOMP_RET_TRAP);
        }
    }
    RETURN(SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {.len = length, .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter))
        refuse("seccomp");
}

__attribute__((constructor)) static void go_on(void) {
    const char *counting = getenv("FAULTS_COUNTING");
    if (counting && !strcmp(counting, "begin")) {
        setenv("FAULTS_COUNTING", "begun", 1);
        faults_begin();
    } else if (counting)
        prepare();
}
