#include "agent.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* How often a host that is away is looked for, should its coming not be announced. */
enum { away_ms = 2000 };
static int was_connected;

static void refuse(uint32_t channel, const char *code, const char *what) {
  char text[512];
  int length = snprintf(text, sizeof text, "%s %s", code, what);
  tell(refused, channel, text, length);
}

static int is_absent(int error) { return error == ENOENT || error == EACCES || error == ENOTDIR || error == ENOEXEC; }

static void begin(struct fields fields) {
  machine_configure(fields);
  const char *failed = machine_root(fields);
  if (failed) return refuse(0, "GUEST_START_FAILED", failed);
  int error = session_start(0, fields);
  if (!error) return tell(started, 0, 0, 0);
  refuse(0, is_absent(error) ? "COMMAND_NOT_FOUND" : "GUEST_START_FAILED", strerror(error));
}

static void add_container(uint32_t channel, struct fields fields) {
  const char *why;
  int error = pod_add(fields, &why);
  if (why) return refuse(channel, "GUEST_START_FAILED", why);
  if (!error) return tell(started, channel, 0, 0);
  refuse(channel, is_absent(error) ? "COMMAND_NOT_FOUND" : "GUEST_START_FAILED", strerror(error));
}

static void make_ready(struct fields fields) {
  const char *failed = machine_prepare ? machine_prepare(fields) : "this machine has no roots of its own";
  int error = failed ? 0 : session_prepare();
  if (failed || error) return refuse(0, "GUEST_START_FAILED", failed ? failed : strerror(error));
  tell(started, 0, 0, 0);
}

static void command(uint32_t channel, struct fields fields) {
  int error = session_start(channel, fields);
  if (!error) return tell(started, channel, 0, 0);
  refuse(channel, error == EAGAIN ? "GUEST_STATE" : "COMMAND_NOT_FOUND", strerror(error));
}

static void resize_terminal(struct session *session, struct fields fields) {
  const char *rows = field(fields, "rows"), *columns = field(fields, "columns");
  struct winsize size = {.ws_row = rows ? atoi(rows) : 24, .ws_col = columns ? atoi(columns) : 80};
  if (session->tty) ioctl(session->in, TIOCSWINSZ, &size);
}

static void tell_usage(uint32_t channel) {
  uint32_t count = processes();
  tell(usage, channel, &count, sizeof count);
}

static void message(char type, uint32_t channel, struct fields payload) {
  struct session *session = session_find(channel);
  if (type == boot) begin(payload);
  else if (type == configure) machine_configure(payload), pod_record(), tell(started, 0, 0, 0);
  else if (type == container) add_container(channel, payload);
  else if (type == prepare) make_ready(payload);
  else if (type == run) command(channel, payload);
  else if (type == ask_usage) tell_usage(channel);
  else if (!session) return;
  else if (type == input) session_input(session, payload.text, payload.length);
  else if (type == input_end) session->closing = 1, session_flush(session);
  else if (type == resize) resize_terminal(session, payload);
  else if (type == end_session) kill(-session->pid, SIGKILL);
  else if (type == signal_main && payload.length == 1) {
    kill(session->pid, payload.text[0]);
    if (payload.text[0] == SIGTERM && channel == 0) pod_leave();
  }
}

static void drain(struct session *session) {
  for (int rounds = 0; rounds < 1024; rounds++) {
    struct pollfd ready[2] = {{.fd = session->out, .events = POLLIN}, {.fd = session->err, .events = POLLIN}};
    if (poll(ready, 2, 0) <= 0) return;
    if (ready[0].revents) session_read(session, &session->out, output);
    if (ready[1].revents) session_read(session, &session->err, error_output);
  }
}

static void finish(struct session *session) {
  int status = session->status;
  drain(session);
  if (session_is_main(session)) {
    session_close(session);
    if (session->channel) return pod_ended(session);
    return WIFSIGNALED(status) ? pod_end(-1, WTERMSIG(status)) : pod_end(WEXITSTATUS(status), 0);
  }
  uint32_t code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  tell(ended, session->channel, &code, sizeof code);
  session_close(session);
}

static void reap(void) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (struct session *at = sessions; at < sessions + sessions_max; at++) {
      if (!at->used || at->pid != pid) continue;
      at->status = status;
      finish(at);
    }
  }
}

/* The host went away: its commands end with it, the guest's own program does not. */
static void left(void) {
  port_reset();
  for (struct session *at = sessions; at < sessions + sessions_max; at++)
    if (at->used && !session_is_main(at)) kill(-at->pid, SIGKILL);
}

int main(void) {
  machine_begin();
  signal(SIGPIPE, SIG_IGN);
  sigset_t noticed;
  sigemptyset(&noticed);
  sigaddset(&noticed, SIGCHLD);
  sigaddset(&noticed, SIGIO);
  int signals = signalfd(-1, &noticed, SFD_CLOEXEC | SFD_NONBLOCK);
  sigprocmask(SIG_BLOCK, &noticed, 0);
  port_open();
  int is_told = 0;
  for (;;) {
    struct pollfd ready_files[2 + 3 * sessions_max];
    int connected = port_connected();
    if (was_connected && !connected) left();
    was_connected = connected;
    /* That a host is there may be known late: the more ports there are, the more is said before of others. */
    if (connected && !is_told) tell(ready, 0, 0, 0), is_told = 1;
    ready_files[0] = (struct pollfd){.fd = connected ? port : -1, .events = POLLIN};
    ready_files[1] = (struct pollfd){.fd = signals, .events = POLLIN};
    int count = 2;
    for (struct session *at = sessions; at < sessions + sessions_max; at++) {
      int writes = at->used && at->pending_length > 0;
      ready_files[count++] = (struct pollfd){.fd = at->used ? at->out : -1, .events = POLLIN};
      ready_files[count++] = (struct pollfd){.fd = at->used ? at->err : -1, .events = POLLIN};
      ready_files[count++] = (struct pollfd){.fd = writes ? at->in : -1, .events = POLLOUT};
    }
    int wait = pod_wait_ms();
    poll(ready_files, count, connected || (wait >= 0 && wait < away_ms) ? wait : away_ms);
    struct signalfd_siginfo signal;
    while (read(signals, &signal, sizeof signal) > 0)
      if (signal.ssi_signo == SIGCHLD) reap();
    pod_tick();
    if (ready_files[0].revents & POLLIN) port_read(message);
    for (int i = 0; i < sessions_max; i++) {
      struct session *at = &sessions[i];
      if (at->used && ready_files[2 + 3 * i].revents && at->out == ready_files[2 + 3 * i].fd) session_read(at, &at->out, output);
      if (at->used && ready_files[3 + 3 * i].revents && at->err == ready_files[3 + 3 * i].fd) session_read(at, &at->err, error_output);
      if (at->used && ready_files[4 + 3 * i].revents) session_flush(at);
    }
  }
}
