#include "agent.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int port = -1;
static char buffer[head_bytes + payload_max];
static size_t filled;

/* In a complete system the driver of the port may still be on its way. */
void port_open(void) {
  for (int tries = 0; tries < 1200; tries++) {
    port = open("/dev/vport0p1", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (port >= 0 || errno != ENOENT) break;
    usleep(50000);
  }
  /* SIGIO says that a host comes or goes: poll(2) tells of one that is away at once, again and again. */
  fcntl(port, F_SETOWN, getpid());
  fcntl(port, F_SETFL, O_NONBLOCK | O_ASYNC);
}

int port_connected(void) {
  struct pollfd poll_port = {.fd = port, .events = POLLIN};
  return poll(&poll_port, 1, 0) >= 0 && !(poll_port.revents & POLLHUP);
}

/* All of it, unless the host is gone: what nobody listens to is dropped. */
static void put(const char *data, size_t length) {
  while (length > 0) {
    ssize_t sent = write(port, data, length);
    if (sent > 0) {
      data += sent;
      length -= sent;
      continue;
    }
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return;
    struct pollfd poll_port = {.fd = port, .events = POLLOUT};
    if (poll(&poll_port, 1, 5000) <= 0 || poll_port.revents & POLLHUP) return;
  }
}

void tell(char type, uint32_t channel, const void *data, size_t length) {
  static char message[head_bytes + payload_max];
  uint32_t size = length;
  memcpy(message, &size, 4);
  message[4] = type;
  memcpy(message + 5, &channel, 4);
  if (length) memcpy(message + head_bytes, data, length);
  put(message, head_bytes + length);
}

/* QEMU appends to a file: one write for each line. */
void record(const char *format, ...) {
  static int file = -1;
  char text[128];
  va_list values;
  if (file < 0) file = open("/dev/vport0p4", O_WRONLY | O_CLOEXEC);
  va_start(values, format);
  int length = vsnprintf(text, sizeof text, format, values);
  va_end(values);
  if (file >= 0 && write(file, text, length) < 0) perror("record");
}

void port_reset(void) { filled = 0; }

void port_read(void (*message)(char type, uint32_t channel, struct fields payload)) {
  for (;;) {
    ssize_t got = read(port, buffer + filled, sizeof buffer - filled);
    if (got <= 0) return;
    filled += got;
    for (;;) {
      uint32_t length, channel;
      if (filled < head_bytes) break;
      memcpy(&length, buffer, 4);
      memcpy(&channel, buffer + 5, 4);
      if (length > payload_max) {
        filled = 0;
        return;
      }
      if (filled < head_bytes + length) break;
      message(buffer[4], channel, (struct fields){buffer + head_bytes, length});
      filled -= head_bytes + length;
      memmove(buffer, buffer + head_bytes + length, filled);
    }
  }
}

/* Fields lie behind each other: name NUL value NUL. */
static const char *next(struct fields *fields, const char **value) {
  const char *name = fields->text, *end = fields->text + fields->length;
  const char *stop = memchr(name, 0, end - name);
  if (!stop || stop + 1 >= end) return 0;
  *value = stop + 1;
  stop = memchr(*value, 0, end - *value);
  if (!stop) return 0;
  fields->length = end - (stop + 1);
  fields->text = stop + 1;
  return name;
}

const char *field(struct fields fields, const char *name) {
  const char *found, *value;
  while ((found = next(&fields, &value)))
    if (!strcmp(found, name)) return value;
  return 0;
}

size_t all_fields(struct fields fields, const char *name, char **values, size_t max) {
  const char *found, *value;
  size_t count = 0;
  while (count + 1 < max && (found = next(&fields, &value)))
    if (!strcmp(found, name)) values[count++] = (char *)value;
  values[count] = 0;
  return count;
}
