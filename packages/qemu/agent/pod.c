#include "agent.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

/*
 * The containers of a guest beside its first. One that ends is run again, after a pause that doubles unless it ran for
 * long; the guest has ended when its first container has, and the others have had a moment to end too. Each end and each
 * new run is a line of the record: `container <number> ended <restarts> <code> <signal> <over its memory> <pause, or -1>`
 * and `container <number> runs <restarts>`.
 */
enum { pause_min_ms = 1000, pause_max_ms = 60000, farewell_ms = 2000 };
enum again { always, on_failure, never };
struct container { int used, restarts, code, signal, over; char *fields; size_t length; enum again again; long long pause, waits, started, due; };
static struct container containers[containers_max];
static int leaving, first_is_over, first_code, first_signal;
static long long farewell;

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static struct session *running(int index) { return session_find(container_channel + index); }

static int any_running(void) {
  for (int i = 1; i < containers_max; i++)
    if (containers[i].used && running(i)) return 1;
  return 0;
}

/* 0, or the errno of the failure. */
static int run_container(int index) {
  struct container *container = &containers[index];
  container->due = 0;
  container->started = now_ms();
  return session_start(container_channel + index, (struct fields){container->fields, container->length});
}

static void record_end(int index) {
  struct container *container = &containers[index];
  long long pause = container->due ? container->waits : -1;
  record("container %d ended %d %d %d %d %lld\n", index, container->restarts, container->code, container->signal, container->over, pause);
}

void pod_record(void) {
  for (int i = 1; i < containers_max; i++) {
    if (!containers[i].used) continue;
    if (!running(i)) record_end(i);
    else if (containers[i].restarts) record("container %d runs %d\n", i, containers[i].restarts);
  }
}

static void run_later(struct container *container) {
  if (now_ms() - container->started > pause_max_ms || container->pause == 0) container->pause = pause_min_ms;
  container->waits = container->pause;
  container->due = now_ms() + container->pause;
  container->pause = container->pause * 2 < pause_max_ms ? container->pause * 2 : pause_max_ms;
}

int pod_add(struct fields fields, const char **why) {
  const char *number = field(fields, "container"), *again = field(fields, "restart");
  int index = number ? atoi(number) : 0;
  *why = 0;
  if (!machine_container || index < 1 || index >= containers_max) return *why = "this machine has no such container", -1;
  if ((*why = machine_container(index, fields))) return -1;
  struct container *container = &containers[index];
  *container = (struct container){.used = 1, .fields = malloc(fields.length), .length = fields.length};
  memcpy(container->fields, fields.text, fields.length);
  container->again = !again || !strcmp(again, "always") ? always : strcmp(again, "on-failure") ? never : on_failure;
  return run_container(index);
}

void pod_ended(struct session *session) {
  int index = session->channel - container_channel, status = session->status;
  struct container *container = &containers[index];
  container->code = WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
  container->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  container->over = machine_container_over && machine_container_over(index);
  if (leaving) return;
  if (container->again == always || (container->again == on_failure && status != 0)) run_later(container);
  record_end(index);
}

/* Again, or later again when that fails, as if the program had ended at once. */
static void run_again(int index) {
  struct container *container = &containers[index];
  int error = run_container(index);
  container->restarts++;
  record("container %d runs %d\n", index, container->restarts);
  if (!error) return;
  container->code = error == ENOENT ? 127 : 126;
  container->signal = container->over = 0;
  run_later(container);
  record_end(index);
}

void pod_leave(void) {
  leaving = 1;
  for (int i = 1; i < containers_max; i++)
    if (containers[i].used && running(i)) kill(running(i)->pid, SIGTERM);
}

void pod_end(int code, int signal) {
  first_is_over = 1;
  first_code = code;
  first_signal = signal;
  farewell = now_ms() + farewell_ms;
  pod_leave();
}

int pod_wait_ms(void) {
  long long next = first_is_over ? farewell : 0;
  for (int i = 1; i < containers_max; i++)
    if (containers[i].due && (!next || containers[i].due < next)) next = containers[i].due;
  if (!next) return -1;
  long long left = next - now_ms();
  return left < 0 ? 0 : left;
}

void pod_tick(void) {
  if (first_is_over && (!any_running() || now_ms() >= farewell)) machine_end(first_code, first_signal);
  for (int i = 1; i < containers_max; i++)
    if (containers[i].due && !leaving && containers[i].due <= now_ms()) run_again(i);
}
