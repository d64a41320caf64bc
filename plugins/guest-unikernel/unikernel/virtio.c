#include "unikernel.h"

/* Offsets of the MMIO registers, in words (virtio 1.1, 4.2.2). */
enum {
  magic = 0x000 / 4, version = 0x004 / 4, device_id = 0x008 / 4, device_features_select = 0x014 / 4,
  driver_features = 0x020 / 4, driver_features_select = 0x024 / 4, queue_select = 0x030 / 4, queue_max = 0x034 / 4,
  queue_size_set = 0x038 / 4, queue_ready = 0x044 / 4, queue_notify = 0x050 / 4, interrupt_status = 0x060 / 4,
  interrupt_acknowledge = 0x064 / 4, status = 0x070 / 4, descriptor_low = 0x080 / 4, driver_low = 0x090 / 4,
  device_low = 0x0a0 / 4, config = 0x100 / 4,
};
enum { transports_max = 32, queue_size = 64, buffer_size = 2048, network_header = 12 };

struct descriptor { uint64_t address; uint32_t length; uint16_t flags, next; };
struct queue {
  struct descriptor descriptors[queue_size] __attribute__((aligned(16)));
  struct { uint16_t flags, index, ring[queue_size]; } available __attribute__((aligned(16)));
  struct { uint16_t flags, index; struct { uint32_t id, length; } ring[queue_size]; } used __attribute__((aligned(16)));
  uint8_t buffers[queue_size][buffer_size];
  volatile uint32_t *device;
  uint16_t number, seen, offset;
};
static struct queue console_in, console_out, network_in, network_out;
static volatile uint32_t *devices[transports_max];
uint8_t network_mac[6];

static inline void barrier(void) { __asm__ volatile("mfence" : : : "memory"); }

void virtio_acknowledge(void) {
  for (int i = 0; i < transports_max && devices[i]; i++) {
    uint32_t pending = devices[i][interrupt_status];
    if (pending) devices[i][interrupt_acknowledge] = pending;
  }
}

static void begin(volatile uint32_t *device, uint32_t features) {
  device[status] = 0;
  device[status] = 1;
  device[status] = 3;
  device[driver_features_select] = 0;
  device[driver_features] = features;
  device[driver_features_select] = 1;
  device[driver_features] = 1; /* VERSION_1 */
  device[status] = 11;
}

static void offer(struct queue *queue, uint16_t id) {
  queue->available.ring[queue->available.index % queue_size] = id;
  barrier();
  queue->available.index++;
  barrier();
}

static void queue_init(struct queue *queue, volatile uint32_t *device, uint16_t number, int receives) {
  queue->device = device;
  queue->number = number;
  device[queue_select] = number;
  device[queue_size_set] = queue_size;
  device[descriptor_low] = (uint32_t)(uint64_t)queue->descriptors;
  device[driver_low] = (uint32_t)(uint64_t)&queue->available;
  device[device_low] = (uint32_t)(uint64_t)&queue->used;
  for (int i = 0; i < 3; i++) device[(i == 0 ? descriptor_low : i == 1 ? driver_low : device_low) + 1] = 0;
  for (int i = 0; i < queue_size; i++) {
    queue->descriptors[i].address = (uint64_t)queue->buffers[i];
    queue->descriptors[i].length = buffer_size;
    queue->descriptors[i].flags = receives ? 2 : 0;
    if (receives) offer(queue, i);
  }
  if (!receives) queue->available.flags = 1; /* no interrupt for what was sent */
  device[queue_ready] = 1;
}

void virtio_init(void) {
  int count = 0;
  for (int i = 0; i < transports_max; i++) {
    volatile uint32_t *device = (uint32_t *)(0xfeb00000ull + 512 * i);
    if (device[magic] != 0x74726976 || device[version] != 2 || device[device_id] == 0) continue;
    if (device[device_id] == 1 && !network_in.device) {
      begin(device, 1u << 5); /* the card has an address */
      for (int byte = 0; byte < 6; byte++) network_mac[byte] = ((volatile uint8_t *)&device[config])[byte];
      queue_init(&network_in, device, 0, 1);
      queue_init(&network_out, device, 1, 0);
    } else if (device[device_id] == 3 && !console_in.device) {
      begin(device, 0);
      queue_init(&console_in, device, 0, 1);
      queue_init(&console_out, device, 1, 0);
    } else continue;
    device[status] = 15;
    device[queue_notify] = 0;
    devices[count++] = device;
  }
}

static int has_used(struct queue *queue) {
  barrier();
  return queue->device && *(volatile uint16_t *)&queue->used.index != queue->seen;
}

static size_t receive(struct queue *queue, void *to, size_t max, size_t header) {
  if (!has_used(queue)) return 0;
  uint16_t id = queue->used.ring[queue->seen % queue_size].id;
  size_t length = queue->used.ring[queue->seen % queue_size].length - header - queue->offset;
  int whole = length <= max;
  if (!whole) length = max;
  memcpy(to, queue->buffers[id] + header + queue->offset, length);
  if (!whole && header == 0) { /* the rest of a stream comes the next time */
    queue->offset += length;
    return length;
  }
  queue->offset = 0;
  queue->seen++;
  offer(queue, id);
  queue->device[queue_notify] = queue->number;
  return length;
}

static void send(struct queue *queue, const void *from, size_t length, size_t header) {
  if (!queue->device) return;
  while (length > 0) {
    size_t part = length > buffer_size - header ? buffer_size - header : length;
    /* At most queue_size are under way; the host takes them at once, unless nobody reads the console. */
    uint16_t open = queue->available.index - *(volatile uint16_t *)&queue->used.index;
    if (open >= queue_size) return;
    uint16_t id = queue->available.index % queue_size;
    memset(queue->buffers[id], 0, header);
    memcpy(queue->buffers[id] + header, from, part);
    queue->descriptors[id].length = header + part;
    offer(queue, id);
    queue->device[queue_notify] = queue->number;
    from = (const char *)from + part;
    length -= part;
  }
}

size_t console_receive(void *to, size_t max) { return receive(&console_in, to, max, 0); }
void console_send(const void *from, size_t length) { send(&console_out, from, length, 0); }
size_t network_receive(void *to, size_t max) { return receive(&network_in, to, max, network_header); }
void network_send(const void *frame, size_t length) { send(&network_out, frame, length, network_header); }
