#include "unikernel.h"

static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline uint8_t in8(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

void *memset(void *to, int value, size_t length) {
  void *at = to;
  __asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(value) : "memory");
  return to;
}
void *memcpy(void *to, const void *from, size_t length) {
  void *at = to;
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(length) : : "memory");
  return to;
}
int memcmp(const void *a, const void *b, size_t length) {
  const uint8_t *x = a, *y = b;
  for (; length > 0; length--, x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}
size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

/* Serial ports: 16550 at its usual places. The host may read slowly: wait for it, but not for ever. */
static void serial(uint16_t base, const char *text) {
  for (; *text; text++) {
    for (int tries = 0; tries < 1000000 && !(in8(base + 5) & 0x20); tries++) continue;
    out8(base, *text);
  }
}
void print(const char *text) { serial(0x3f8, text); }
void complain(const char *text) { serial(0x2f8, text); }

_Noreturn void power_off(int status) {
  out32(0xf4, status + 1); /* isa-debug-exit: QEMU ends with twice that and one; 1 is its own failure */
  for (;;) __asm__ volatile("cli; hlt");
}

/* Memory: a list of free blocks in the order of their addresses, first fit, neighbours joined. */
struct block { size_t size; struct block *next; };
static struct block free_list;

static void give(struct block *block) {
  struct block *before = &free_list;
  while (before->next && before->next < block) before = before->next;
  block->next = before->next;
  before->next = block;
  if (block->next && (char *)block + block->size == (char *)block->next) {
    block->size += block->next->size;
    block->next = block->next->next;
  }
  if (before != &free_list && (char *)before + before->size == (char *)block) {
    before->size += block->size;
    before->next = block->next;
  }
}
void *allocate(size_t size) {
  size = (size + sizeof(struct block) + 15) & ~(size_t)15;
  for (struct block *before = &free_list; before->next; before = before->next) {
    struct block *found = before->next;
    if (found->size < size) continue;
    if (found->size - size < 64) {
      size = found->size;
      before->next = found->next;
    } else {
      struct block *rest = (struct block *)((char *)found + size);
      rest->size = found->size - size;
      rest->next = found->next;
      before->next = rest;
    }
    found->size = size;
    return found + 1;
  }
  return 0;
}
void release(void *memory) { give((struct block *)memory - 1); }

/* Interrupts: every pin of the IOAPIC to one vector, the timer of the local APIC to another. */
enum { vector_device = 0x40, vector_timer = 0x41, vector_spurious = 0xff };
static volatile uint32_t *const local_apic = (uint32_t *)0xfee00000;
static volatile uint32_t *const io_apic = (uint32_t *)0xfec00000;
volatile uint64_t now_ms;
static volatile uint64_t tick_ms;

struct frame;
__attribute__((interrupt)) static void on_device(struct frame *frame) {
  (void)frame;
  virtio_acknowledge();
  local_apic[0xb0 / 4] = 0;
}
__attribute__((interrupt)) static void on_timer(struct frame *frame) {
  (void)frame;
  now_ms += tick_ms;
  local_apic[0xb0 / 4] = 0;
}
__attribute__((interrupt)) static void on_spurious(struct frame *frame) { (void)frame; }
__attribute__((interrupt)) static void on_fault(struct frame *frame) {
  (void)frame;
  complain("panic: processor exception\n");
  power_off(exit_panic);
}
__attribute__((interrupt)) static void on_fault_with_code(struct frame *frame, uint64_t code) {
  (void)frame;
  (void)code;
  complain("panic: processor exception\n");
  power_off(exit_panic);
}

static struct { uint16_t low, selector; uint8_t stack, type; uint16_t middle; uint32_t high, zero; } gates[256];
static void gate(int vector, void *handler) {
  uint64_t address = (uint64_t)handler;
  gates[vector].low = address;
  gates[vector].selector = 8;
  gates[vector].type = 0x8e;
  gates[vector].middle = address >> 16;
  gates[vector].high = address >> 32;
}

void tick_every(uint64_t milliseconds) {
  if (milliseconds == tick_ms) return;
  tick_ms = milliseconds;
  /* The emulated local APIC counts nanoseconds. */
  local_apic[0x320 / 4] = milliseconds ? 0x20000 | vector_timer : 0x10000;
  local_apic[0x380 / 4] = milliseconds * 1000000;
}

void wait_for_interrupt(void) { __asm__ volatile("sti; hlt; cli" : : : "memory"); }

void platform_init(uint64_t heap_start, uint64_t heap_end) {
  struct block *all = (struct block *)((heap_start + 15) & ~15ull);
  all->size = (heap_end - (uint64_t)all) & ~15ull;
  give(all);
  for (int vector = 0; vector < 32; vector++) {
    int has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
    gate(vector, has_code ? (void *)on_fault_with_code : (void *)on_fault);
  }
  gate(vector_device, on_device);
  gate(vector_timer, on_timer);
  gate(vector_spurious, on_spurious);
  struct { uint16_t limit; uint64_t base; } __attribute__((packed)) table = {sizeof gates - 1, (uint64_t)gates};
  __asm__ volatile("lidt %0" : : "m"(table));
  out8(0x21, 0xff); /* the old interrupt controller stays silent */
  out8(0xa1, 0xff);
  local_apic[0xf0 / 4] = 0x100 | vector_spurious;
  local_apic[0x3e0 / 4] = 0xb;
  for (int pin = 4; pin < 24; pin++) {
    io_apic[0] = 0x11 + 2 * pin;
    io_apic[4] = 0;
    io_apic[0] = 0x10 + 2 * pin;
    io_apic[4] = 0x8000 | vector_device; /* level triggered, to processor 0 */
  }
}
