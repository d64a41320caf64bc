#include "unikernel.h"

/* The state: a counter, and values by key in a table of chains. */
enum { buckets = 256 };
struct entry { struct entry *next; size_t key_length, length; char text[]; };
static struct entry *table[buckets];
static uint64_t counter;
const char *fixed_body;

static size_t digits(char *to, uint64_t value) {
  char text[20];
  size_t length = 0;
  do text[length++] = '0' + value % 10;
  while (value /= 10);
  for (size_t i = 0; i < length; i++) to[i] = text[length - 1 - i];
  return length;
}

static struct entry **place(const char *key, size_t length) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)key[i]) * 16777619u;
  struct entry **at = &table[hash % buckets];
  while (*at && ((*at)->key_length != length || memcmp((*at)->text, key, length))) at = &(*at)->next;
  return at;
}

static void forget(struct entry **at) {
  struct entry *old = *at;
  *at = old->next;
  release(old);
}

static size_t append(char *to, const char *text) {
  size_t length = strlen(text);
  memcpy(to, text, length);
  return length;
}

static size_t respond(char *to, const char *status, const char *body, size_t length) {
  size_t at = append(to, "HTTP/1.1 ");
  at += append(to + at, status);
  at += append(to + at, "\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: ");
  at += digits(to + at, length);
  at += append(to + at, "\r\n\r\n");
  memcpy(to + at, body, length);
  return at + length;
}

static size_t respond_text(char *to, const char *status, const char *text) { return respond(to, status, text, strlen(text)); }

static size_t respond_counter(char *to) {
  char text[24];
  return respond(to, "200 OK", text, digits(text, counter));
}

static size_t put(char *to, const char *key, size_t key_length, const char *value, size_t length) {
  struct entry *entry = allocate(sizeof *entry + key_length + length);
  if (!entry) return respond_text(to, "507 Insufficient Storage", "no memory is left\n");
  struct entry **at = place(key, key_length);
  if (*at) forget(at);
  *entry = (struct entry){.next = *at, .key_length = key_length, .length = length};
  memcpy(entry->text, key, key_length);
  memcpy(entry->text + key_length, value, length);
  *at = entry;
  return respond_text(to, "200 OK", "ok\n");
}

static int is(const char *text, size_t length, const char *word) { return length == strlen(word) && !memcmp(text, word, length); }

static size_t route(const char *method, size_t method_length, const char *path, size_t path_length, const char *body, size_t length, char *to) {
  int get = is(method, method_length, "GET");
  if (fixed_body) return respond_text(to, "200 OK", fixed_body);
  if (get && is(path, path_length, "/")) return respond_counter(to);
  if ((get || is(method, method_length, "POST")) && is(path, path_length, "/inc")) return counter++, respond_counter(to);
  if (path_length <= 4 || memcmp(path, "/kv/", 4)) return respond_text(to, "404 Not Found", "GET /, POST /inc, GET|PUT|DELETE /kv/<key>\n");
  const char *key = path + 4;
  size_t key_length = path_length - 4;
  if (key_length > key_max) return respond_text(to, "414 URI Too Long", "a key has at most 128 bytes\n");
  if (is(method, method_length, "PUT")) return put(to, key, key_length, body, length);
  struct entry **at = place(key, key_length);
  if (!*at) return respond_text(to, "404 Not Found", "no such key\n");
  if (get) return respond(to, "200 OK", (*at)->text + key_length, (*at)->length);
  if (!is(method, method_length, "DELETE")) return respond_text(to, "405 Method Not Allowed", "GET, PUT or DELETE\n");
  forget(at);
  return respond_text(to, "200 OK", "ok\n");
}

/* The value of a header in lower case with its colon, or 0. */
static const char *header(const char *from, const char *end, const char *name) {
  for (const char *line = from; line < end; line++) {
    if (line != from && line[-1] != '\n') continue;
    size_t i = 0;
    while (name[i] && line + i < end && (line[i] == name[i] || line[i] + 32 == name[i])) i++;
    if (!name[i]) return line + i;
  }
  return 0;
}

size_t http_answer(const char *request, size_t length, char *response, size_t *used) {
  size_t head = 0, body = 0;
  for (size_t i = 3; i < length && !head; i++)
    if (!memcmp(request + i - 3, "\r\n\r\n", 4)) head = i + 1;
  *used = length;
  if (!head) return length < request_max ? 0 : respond_text(response, "431 Request Header Fields Too Large", "at most 2048 bytes\n");
  const char *value = header(request, request + head, "content-length:");
  while (value && *value == ' ') value++;
  for (; value && *value >= '0' && *value <= '9' && body <= request_max; value++) body = body * 10 + (*value - '0');
  if (body > value_max || head + body > request_max) return respond_text(response, "413 Content Too Large", "at most 1024 bytes\n");
  if (head + body > length) return 0;
  *used = head + body;
  const char *path = request;
  while (*path != ' ' && *path != '\r') path++;
  size_t method_length = path - request;
  if (*path != ' ') return respond_text(response, "400 Bad Request", "not a request\n");
  const char *end = ++path;
  while (*end != ' ' && *end != '?' && *end != '\r') end++;
  return route(request, method_length, path, end - path, request + head, body, response);
}
