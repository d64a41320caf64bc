/* The key-value counter: one stateful HTTP program that runs in any guest.
 *
 *   GET /           the counter
 *   POST /inc       counts, then the counter (GET too: for probes by hand)
 *   PUT /kv/K       keeps the body under K: "ok"
 *   GET /kv/K       the value, or 404
 *   DELETE /kv/K    "ok", or 404
 *
 * Keys have at most 128 bytes, values at most 1024. State is in memory. The port is the first argument, $PORT, or 80.
 * One process, one connection at a time, each closed after its answer; ends at SIGTERM and SIGINT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { key_max = 128, value_max = 1024, request_max = 4096, entries_max = 4096, patience_s = 5 };
struct entry { char key[key_max + 1]; char value[value_max]; size_t length; };
static struct entry *table[entries_max];
static uint64_t counter;

static void quit(int signal) { (void)signal; _exit(0); }

static struct entry **place(const char *key) {
  struct entry **empty = 0;
  for (int i = 0; i < entries_max; i++) {
    if (table[i] && !strcmp(table[i]->key, key)) return &table[i];
    if (!table[i] && !empty) empty = &table[i];
  }
  return empty;
}

static void send_all(int to, const char *data, size_t length) {
  while (length > 0) {
    ssize_t sent = send(to, data, length, MSG_NOSIGNAL);
    if (sent <= 0) return;
    data += sent, length -= (size_t)sent;
  }
}

static void respond(int to, const char *status, const char *body, size_t length) {
  char head[160];
  int size = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", status, length);
  send_all(to, head, (size_t)size);
  send_all(to, body, length);
}

static void say(int to, const char *status, const char *text) { respond(to, status, text, strlen(text)); }

static void tell_counter(int to) {
  char text[24];
  respond(to, "200 OK", text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)counter));
}

static void put(int to, struct entry **at, const char *key, const char *value, size_t length) {
  if (!at || (!*at && !(*at = malloc(sizeof **at)))) return say(to, "507 Insufficient Storage", "no memory is left\n");
  strcpy((*at)->key, key);
  memcpy((*at)->value, value, (*at)->length = length);
  say(to, "200 OK", "ok\n");
}

static void route(int to, const char *method, const char *path, const char *body, size_t length) {
  int get = !strcmp(method, "GET");
  if (get && !strcmp(path, "/")) return tell_counter(to);
  if ((get || !strcmp(method, "POST")) && !strcmp(path, "/inc")) return counter++, tell_counter(to);
  if (strncmp(path, "/kv/", 4) || !path[4]) return say(to, "404 Not Found", "GET /, POST /inc, GET|PUT|DELETE /kv/<key>\n");
  const char *key = path + 4;
  if (strlen(key) > key_max) return say(to, "414 URI Too Long", "a key has at most 128 bytes\n");
  struct entry **at = place(key);
  if (!strcmp(method, "PUT")) return put(to, at, key, body, length);
  if (!at || !*at) return say(to, "404 Not Found", "no such key\n");
  if (get) return respond(to, "200 OK", (*at)->value, (*at)->length);
  if (strcmp(method, "DELETE")) return say(to, "405 Method Not Allowed", "GET, PUT or DELETE\n");
  free(*at);
  *at = 0;
  say(to, "200 OK", "ok\n");
}

static size_t content_length(const char *head) {
  for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
    if (!strncasecmp(line + 2, "content-length:", 15)) return strtoul(line + 17, 0, 10);
  return 0;
}

static void serve(int from) {
  static char request[request_max + 1];
  size_t length = 0;
  for (;;) {
    ssize_t got = recv(from, request + length, request_max - length, 0);
    if (got <= 0) return;
    request[length += (size_t)got] = 0;
    char *end = strstr(request, "\r\n\r\n");
    if (!end) {
      if (length < request_max) continue;
      return say(from, "431 Request Header Fields Too Large", "at most 4096 bytes\n");
    }
    size_t head = (size_t)(end - request) + 4, body = content_length(request);
    if (body > value_max || head + body > request_max) return say(from, "413 Content Too Large", "at most 1024 bytes\n");
    if (length < head + body) continue;
    char method[16], path[512];
    if (sscanf(request, "%15s %511s", method, path) != 2) return say(from, "400 Bad Request", "this is no HTTP request\n");
    return route(from, method, path, request + head, body);
  }
}

int main(int argc, char **argv) {
  const char *asked = argc > 1 ? argv[1] : getenv("PORT");
  int port = asked ? atoi(asked) : 80, one = 1;
  signal(SIGTERM, quit);
  signal(SIGINT, quit);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) {
    fprintf(stderr, "counter: port %d: %s\n", port, strerror(errno));
    return 1;
  }
  printf("counter listens on port %d\n", port);
  fflush(stdout);
  for (;;) {
    int connection = accept4(listener, 0, 0, SOCK_CLOEXEC);
    if (connection < 0) continue;
    struct timeval patience = {.tv_sec = patience_s};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    serve(connection);
    shutdown(connection, SHUT_WR);
    close(connection);
  }
}
