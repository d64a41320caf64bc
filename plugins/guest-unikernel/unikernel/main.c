#include "unikernel.h"

/* Start info and memory map of the PVH boot protocol (Xen: public/arch-x86/hvm/start_info.h). */
struct start_info {
  uint32_t magic, version, flags, modules;
  uint64_t module_list, command_line, rsdp, memory_map;
  uint32_t memory_map_entries, reserved;
};
struct memory_map { uint64_t address, size; uint32_t type, reserved; };
extern char image_end[];

static char console_request[request_max];
static size_t console_length;
static uint32_t address;
static int stops = 1;

static uint64_t number(const char *text) {
  uint64_t value = 0;
  for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (*text - '0');
  return value;
}
static uint32_t ip_address(const char *text) {
  uint32_t value = 0;
  for (int part = 0; part < 4; part++) {
    value = value << 8 | (number(text) & 255);
    while (*text >= '0' && *text <= '9') text++;
    if (*text == '.') text++;
  }
  return value;
}
static int hex(char digit) { return digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10; }
static void card_address(const char *text) {
  for (int byte = 0; byte < 6; byte++, text += 3) network_mac[byte] = hex(text[0]) << 4 | hex(text[1]);
}
static void decode(char *text) {
  char *to = text;
  for (; *text; text++, to++) {
    if (*text == '%' && text[1] && text[2]) *to = hex(text[1]) << 4 | hex(text[2]), text += 2;
    else *to = *text;
  }
  *to = 0;
}
/* The value of a word that begins so, or 0. */
static const char *after(const char *word, const char *name) {
  size_t length = strlen(name);
  return memcmp(word, name, length) ? 0 : word + length;
}

struct plan { const char *exit, *later, *variable, *directory; uint64_t at, allocate, burn, context; };

/* One word of the command line. What it does not know it leaves to others. */
static void word_of(char *word, struct plan *plan) {
  const char *value;
  decode(word);
  if ((value = after(word, "ip="))) address = ip_address(value);
  else if ((value = after(word, "port="))) net_listen(number(value));
  else if ((value = after(word, "body="))) fixed_body = value;
  else if ((value = after(word, "exit="))) plan->exit = value;
  else if ((value = after(word, "after="))) plan->at = number(value);
  else if ((value = after(word, "later="))) plan->later = value;
  else if ((value = after(word, "mac="))) card_address(value);
  else if ((value = after(word, "print="))) print(value), print("\n");
  else if ((value = after(word, "complain="))) complain(value), complain("\n");
  else if ((value = after(word, "allocate="))) plan->allocate = number(value);
  else if ((value = after(word, "cwd="))) plan->directory = value;
  else if ((value = after(word, "env.")) && !plan->variable) plan->variable = value;
  else if (!memcmp(word, "burn", 5)) plan->burn = 1;
  else if (!memcmp(word, "context", 8)) plan->context = 1;
  else if (!memcmp(word, "unstoppable", 12)) stops = 0;
}

static void words_of(char *line, struct plan *plan) {
  while (*line) {
    while (*line == ' ') line++;
    char *word = line;
    while (*line && *line != ' ') line++;
    if (*line) *line++ = 0;
    if (*word) word_of(word, plan);
  }
}

static void use_memory(uint64_t bytes) {
  enum { piece = 65536 };
  for (uint64_t taken = 0; taken < bytes; taken += piece) {
    char *memory = allocate(piece);
    if (!memory) {
      complain("panic: out of memory\n");
      power_off(exit_out_of_memory);
    }
    memset(memory, 1, piece);
  }
  print("done\n");
}

/* Requests, and two control characters between them: ETX ends the program, SOH begins words that end with a line. */
static void console(void) {
  static char response[response_max];
  size_t got, used;
  while ((got = console_receive(console_request + console_length, request_max - console_length))) {
    console_length += got;
    for (size_t length = 1; length && console_length;) {
      struct plan ignored = {0};
      char first = console_request[0];
      length = used = 0;
      if (first == 3) {
        if (stops) power_off(0);
        used = 1;
      } else if (first == 1) {
        for (size_t i = 0; i < console_length && !used; i++)
          if (console_request[i] == '\n') console_request[i] = 0, used = i + 1;
        if (used) words_of(console_request + 1, &ignored), net_configure(address);
        if (!used && console_length == request_max) used = console_length;
      } else if ((length = http_answer(console_request, console_length, response, &used))) {
        console_send(response, length);
      } else used = 0;
      if (used) {
        for (size_t i = used; i < console_length; i++) console_request[i - used] = console_request[i];
        console_length -= used;
        length = 1;
      }
    }
  }
}

void kmain(struct start_info *info) {
  static uint8_t frame[2048];
  uint64_t heap = (uint64_t)image_end, end = heap;
  struct memory_map *map = (struct memory_map *)info->memory_map;
  for (uint32_t i = 0; i < info->memory_map_entries; i++)
    if (map[i].type == 1 && map[i].address <= heap && map[i].address + map[i].size > heap) end = map[i].address + map[i].size;
  /* The loader leaves what it tells above the image as well: move past it. */
  uint64_t told[] = {(uint64_t)info + sizeof *info, info->command_line ? info->command_line + strlen((char *)info->command_line) + 1 : 0,
                     info->memory_map + info->memory_map_entries * sizeof *map};
  for (int i = 0; i < 3; i++)
    if (told[i] > heap && told[i] < end) heap = told[i];
  platform_init(heap, end);
  virtio_init();
  net_listen(80);
  struct plan plan = {.directory = "/"};
  if (info->command_line) words_of((char *)info->command_line, &plan);
  net_configure(address);
  if (plan.context) {
    const char *value = plan.variable ? plan.variable : "=";
    while (*value && *value != '=') value++;
    print(*value ? value + 1 : value), print("\n"), print(plan.directory), print("\n");
  }
  if (plan.allocate) use_memory(plan.allocate);
  for (;;) {
    size_t length;
    while ((length = network_receive(frame, sizeof frame))) net_frame(frame, length);
    console();
    int waiting = net_tick();
    if (plan.later && now_ms >= plan.at) print(plan.later), print("\n"), plan.later = 0;
    if (plan.exit && now_ms >= plan.at) power_off(number(plan.exit));
    tick_every(plan.exit || plan.later || waiting ? 20 : 0);
    if (plan.burn) __asm__ volatile("sti; nop; cli");
    else wait_for_interrupt();
  }
}
