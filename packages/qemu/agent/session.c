#include "agent.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

struct session sessions[sessions_max];
int entering;

int session_is_main(const struct session *session) { return session->channel == 0 || session->channel >= container_channel; }

struct session *session_find(uint32_t channel) {
  for (struct session *at = sessions; at < sessions + sessions_max; at++)
    if (at->used && at->channel == channel) return at;
  return 0;
}

static int terminal(struct fields fields, int *master) {
  char path[64];
  const char *rows = field(fields, "rows"), *columns = field(fields, "columns");
  int number, unlocked = 0;
  snprintf(path, sizeof path, "%s/dev/pts/ptmx", guest_root);
  *master = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*master < 0 || ioctl(*master, TIOCSPTLCK, &unlocked) || ioctl(*master, TIOCGPTN, &number)) return -1;
  struct winsize size = {.ws_row = rows ? atoi(rows) : 24, .ws_col = columns ? atoi(columns) : 80};
  ioctl(*master, TIOCSWINSZ, &size);
  snprintf(path, sizeof path, "%s/dev/pts/%d", guest_root, number);
  return open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* Why the last child did not become a program: it shares the memory of its parent until then. */
static volatile int failure;

/* In the child: goes to where programs run. 0, or -1 with errno. */
static int settle(int in, int out, int err, int tty) {
  char procs[512];
  snprintf(procs, sizeof procs, "%s/cgroup.procs", guest_group);
  int group = open(procs, O_WRONLY | O_CLOEXEC);
  if (group < 0 || write(group, "0", 1) < 0) perror("cgroup");
  setsid();
  if (tty) ioctl(in, TIOCSCTTY, 0);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, 0);
  return machine_enter();
}

/* In the child: becomes the program. */
static _Noreturn void become(struct fields fields) {
  static char *words[words_max], *environment[words_max], standard[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  const char *cwd = field(fields, "cwd"), *user = field(fields, "user");
  all_fields(fields, "arg", words, words_max);
  size_t count = all_fields(fields, "env", environment, words_max - 1), path = 0;
  while (path < count && strncmp(environment[path], "PATH=", 5)) path++;
  if (path == count) environment[count] = standard, environment[count + 1] = 0;
  if (chdir(cwd && *cwd ? cwd : "/")) goto failed;
  if (user && atoi(user)) {
    if (setgroups(0, 0) || setresgid(atoi(user), atoi(user), atoi(user)) || setresuid(atoi(user), atoi(user), atoi(user))) goto failed;
  }
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  environ = environment; /* where the search path is looked up */
  if (words[0]) execvp(words[0], words);
  else errno = ENOENT;
failed:
  failure = errno;
  _exit(127);
}

/* Returns when the child has become the program, or has failed: nothing of this process is copied for it. */
static __attribute__((noinline)) pid_t child(struct fields fields, int in, int out, int err, int tty) {
  static char **own;
  own = environ;
  failure = 0;
  pid_t pid = vfork();
  if (pid == 0) {
    if (!settle(in, out, err, tty)) become(fields);
    failure = errno;
    _exit(127);
  }
  environ = own;
  if (pid < 0) failure = errno;
  return pid;
}

/*
 * The child that becomes the guest's own program, made in a machine that is copied: it has gone to where that runs, and
 * waits to be told what it is. It shares the memory of this process until then, errno included, so one of the two always
 * waits for the other. It holds no file of this process but its ends of two pipes: to be told to go on, and to tell.
 */
static struct { pid_t pid; int in, out[2], err[2], go[2], told[2]; struct fields fields; } ahead;
enum { files_ahead_max = 256 };

static int wait_to_become(void *nothing) {
  char byte = 0;
  (void)nothing;
  if (settle(ahead.in, ahead.out[1], ahead.err[1], 0)) goto failed;
  for (int file = 3; file < files_ahead_max; file++)
    if (file != ahead.go[0] && file != ahead.told[1]) close(file);
  if (write(ahead.told[1], &byte, 1) == 1 && read(ahead.go[0], &byte, 1) == 1) become(ahead.fields);
failed:
  failure = errno;
  _exit(127);
}

/* Whether the child has told that it waits, and not ended: its end of the pipe is closed by that, and when it becomes a program. */
static int has_told(void) {
  char byte;
  ssize_t got;
  while ((got = read(ahead.told[0], &byte, 1)) < 0 && errno == EINTR);
  return got == 1;
}

int session_prepare(void) {
  static char stack[65536] __attribute__((aligned(16)));
  entering = 0;
  failure = 0;
  ahead.in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (pipe2(ahead.out, O_CLOEXEC) || pipe2(ahead.err, O_CLOEXEC) || pipe2(ahead.go, O_CLOEXEC) || pipe2(ahead.told, O_CLOEXEC)) return errno;
  ahead.pid = clone(wait_to_become, stack + sizeof stack, CLONE_VM | SIGCHLD, 0);
  if (ahead.pid < 0) return errno;
  close(ahead.told[1]);
  if (!has_told()) return failure;
  close(ahead.in), close(ahead.out[1]), close(ahead.err[1]), close(ahead.go[0]);
  return 0;
}

/* Returns when that child has become the program, or has failed. */
static int begin_ahead(struct fields fields) {
  char byte = 0, **own = environ;
  pid_t pid = ahead.pid;
  ahead.pid = 0;
  ahead.fields = fields;
  if (write(ahead.go[1], &byte, 1) != 1) return errno;
  has_told();
  environ = own;
  sessions[0] = (struct session){.used = 1, .pid = pid, .in = -1, .out = ahead.out[0], .err = ahead.err[0]};
  if (failure) session_close(&sessions[0]);
  return failure;
}

int session_start(uint32_t channel, struct fields fields) {
  if (channel == 0 && ahead.pid > 0) return begin_ahead(fields);
  struct session *session = sessions;
  while (session < sessions + sessions_max && session->used) session++;
  if (session == sessions + sessions_max) return EAGAIN;
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
  int tty = field(fields, "tty") != 0;
  const char *container = field(fields, "container");
  entering = container ? atoi(container) : 0;
  if (tty) {
    in[0] = terminal(fields, &in[1]);
    if (in[0] < 0) return EIO;
    out[1] = err[1] = in[0];
  } else if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) return errno;
  if (channel == 0 || channel >= container_channel) {
    close(in[0]);
    close(in[1]);
    in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    in[1] = -1;
  }
  pid_t pid = child(fields, in[0], out[1], err[1], tty);
  close(in[0]);
  if (!tty) close(out[1]), close(err[1]);
  *session = (struct session){.used = 1, .channel = channel, .pid = pid, .tty = tty, .in = in[1], .err = err[0], .container = entering};
  session->out = tty ? dup(in[1]) : out[0];
  if (session->in >= 0) fcntl(session->in, F_SETFL, O_NONBLOCK);
  if (failure) session_close(session);
  return failure;
}

void session_close(struct session *session) {
  if (session->in >= 0) close(session->in);
  if (session->out >= 0) close(session->out);
  if (session->err >= 0) close(session->err);
  free(session->pending);
  session->used = 0;
}

void session_input(struct session *session, const char *data, size_t length) {
  if (session->in < 0 || session->pending_length + length > pending_max) return;
  session->pending = realloc(session->pending, session->pending_length + length);
  memcpy(session->pending + session->pending_length, data, length);
  session->pending_length += length;
  session_flush(session);
}

/* Writes what the program takes now, and tells the host how much that was. */
void session_flush(struct session *session) {
  while (session->in >= 0 && session->pending_length > 0) {
    ssize_t sent = write(session->in, session->pending, session->pending_length);
    if (sent < 0 && errno == EAGAIN) return;
    uint32_t count = sent > 0 ? (size_t)sent : session->pending_length; /* it reads no more */
    session->pending_length -= count;
    memmove(session->pending, session->pending + count, session->pending_length);
    tell(taken, session->channel, &count, sizeof count);
  }
  if (session->closing && session->in >= 0) {
    if (session->tty && write(session->in, "\004", 1) < 0) perror("tty");
    if (!session->tty) {
      close(session->in);
      session->in = -1;
    }
    session->closing = 0;
  }
}

/* Each container has two ports for what it writes: 2 and 3 for the first, 5 and 6 for the next, and so on. */
static int log_port(int container, char type) {
  static int ports[2 * containers_max];
  int *file = &ports[2 * container + (type == error_output)];
  char path[32];
  snprintf(path, sizeof path, "/dev/vport0p%d", (container ? 3 : 2) + 2 * container + (type == error_output));
  if (*file == 0) *file = open(path, O_WRONLY | O_CLOEXEC);
  return *file;
}

/* One read; the program of a container writes to its log, a command to the host. */
void session_read(struct session *session, int *from, char type) {
  char data[16384];
  ssize_t got = read(*from, data, sizeof data);
  if (got <= 0) {
    close(*from);
    *from = -1;
    return;
  }
  if (!session_is_main(session)) return tell(type, session->channel, data, got);
  for (ssize_t at = 0; at < got;) {
    ssize_t sent = write(log_port(session->container, type), data + at, got - at);
    if (sent <= 0) return;
    at += sent;
  }
}
