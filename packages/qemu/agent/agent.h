/*
 * Runs the guest's program and commands in a virtual machine, and tells the host. Two programs share this: the first
 * process of a tiny machine, which brings its container up (machine.c), and a service of a complete Linux (service.c).
 */
#pragma once
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A message: length of the payload (4 bytes, little endian), type (1), channel (4), payload. */
enum { head_bytes = 9, payload_max = 262144, sessions_max = 64, words_max = 4096, pending_max = 262144, containers_max = 5 };
/* Channels of the programs of containers: this, and the number of the container. That of the first is 0. */
#define container_channel 0x80000000u
enum {
  /* from the host */
  boot = 'B', configure = 'C', run = 'X', input = 'I', input_end = 'E', resize = 'R', end_session = 'K', signal_main = 'S',
  ask_usage = 'U', container = 'P', prepare = 'L',
  /* to the host */
  ready = 'H', started = 'M', refused = 'N', output = 'O', error_output = 'F', ended = 'Q', taken = 'A', usage = 'T',
};

/* Fields of a message: name and value, each ended by NUL. */
struct fields { const char *text; size_t length; };
const char *field(struct fields fields, const char *name);
size_t all_fields(struct fields fields, const char *name, char **values, size_t max);

/* port.c */
extern int port;
void port_open(void);
int port_connected(void);
void tell(char type, uint32_t channel, const void *data, size_t length);
/* Calls back for every message that is complete. */
void port_read(void (*message)(char type, uint32_t channel, struct fields payload));
void port_reset(void);
/* A line for the record that the host keeps, whether anybody listens or not. */
void record(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* identity.c: what a machine is called, and where it is on the network. */
void machine_configure(struct fields fields);
/* The interfaces are up, without addresses but that of the loopback. */
void network_begin(void);
long number_in(const char *path, const char *name);
void put_text(const char *path, const char *text);

/* machine.c or service.c */
/* Where programs live: a directory, or empty for the root of the machine itself. */
extern const char *const guest_root;
/* The control group of the guest's processes. */
extern const char *guest_group;
void machine_begin(void);
/* 0, or what failed. */
const char *machine_root(struct fields fields);
/* Ahead of that, in a machine that is copied for guests of the same images: 0, or what failed. */
const char *machine_prepare(struct fields fields) __attribute__((weak));
/* In a child that is about to become a program. 0, or -1 with errno. */
int machine_enter(void);
/* Makes the root of a further container, where machines have any: 0, or what failed. */
const char *machine_container(int index, struct fields fields) __attribute__((weak));
_Noreturn void machine_end(int code, int signal);
/* Kills what is left of a further container, where machines have any: whether one was killed for want of memory. */
int machine_container_over(int index) __attribute__((weak));
int oom_kills(void);
int processes(void);

/* mounts.c: paths of the node, below that root. 0, or what failed. */
const char *mount_paths(const char *root, struct fields fields);

/* pod.c */
struct session;
/* 0, or -1 with what failed, or the errno of the failure. */
int pod_add(struct fields fields, const char **why);
void pod_ended(struct session *session);
/* Records how the containers are: in a record that has just begun. */
void pod_record(void);
/* The guest is asked to end: its containers end too, and are not run again. */
void pod_leave(void);
/* The first container has ended. */
void pod_end(int code, int signal);
/* Until when there is nothing to do: -1 for ever. */
int pod_wait_ms(void);
void pod_tick(void);

/* session.c: a program in a container with its pipes or its terminal. Channel 0 is the guest's own program. */
/* The container that a child is about to enter. */
extern int entering;
struct session { int used, in, out, err, tty, ended, status, container; uint32_t channel; pid_t pid; char *pending; size_t pending_length; int closing; };
extern struct session sessions[sessions_max];
/* 0, or the errno of the failure. The first: ahead of the guest's own program, in a machine that is copied. */
int session_prepare(void);
int session_start(uint32_t channel, struct fields fields);
/* The program of a container, not a command. */
int session_is_main(const struct session *session);
struct session *session_find(uint32_t channel);
void session_input(struct session *session, const char *data, size_t length);
void session_flush(struct session *session);
void session_read(struct session *session, int *from, char type);
void session_close(struct session *session);
