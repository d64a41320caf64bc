#include "unikernel.h"

enum { connections_max = 128, retransmit_ms = 200, retransmits_max = 8, idle_max_ms = 15000 };
enum { fin = 1, syn = 2, rst = 4, psh = 8, ack = 16 };

struct connection {
  int used, established, answered, peer_ended;
  uint8_t peer_mac[6];
  uint32_t peer;
  uint16_t peer_port, retransmits;
  uint32_t receive_next, send_first, send_next; /* send_first: the oldest byte that is not acknowledged */
  uint64_t sent_at;
  size_t request_length, response_length;
  char request[request_max], response[response_max];
};
static struct connection connections[connections_max];
static uint32_t own_address;
static uint16_t listening_port;
static uint32_t next_sequence = 0x10000;

static uint16_t get16(const uint8_t *at) { return at[0] << 8 | at[1]; }
static uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static void put16(uint8_t *at, uint16_t value) { at[0] = value >> 8; at[1] = value; }
static void put32(uint8_t *at, uint32_t value) { put16(at, value >> 16); put16(at + 2, value); }

static uint16_t checksum(const uint8_t *data, size_t length, uint32_t sum) {
  for (; length > 1; data += 2, length -= 2) sum += get16(data);
  if (length) sum += data[0] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

static void ethernet(uint8_t *frame, const uint8_t *to, uint16_t type) {
  memcpy(frame, to, 6);
  memcpy(frame + 6, network_mac, 6);
  put16(frame + 12, type);
}

static void ip_send(uint8_t *frame, const uint8_t *mac, uint32_t to, uint8_t protocol, size_t payload) {
  uint8_t *ip = frame + 14;
  ethernet(frame, mac, 0x0800);
  memset(ip, 0, 20);
  ip[0] = 0x45;
  put16(ip + 2, 20 + payload);
  ip[6] = 0x40; /* do not fragment */
  ip[8] = 64;
  ip[9] = protocol;
  put32(ip + 12, own_address);
  put32(ip + 16, to);
  put16(ip + 10, checksum(ip, 20, 0));
  network_send(frame, 34 + payload);
}

static void arp_send(const uint8_t *mac, uint16_t operation, const uint8_t *target_mac, uint32_t target) {
  uint8_t frame[60] = {0};
  ethernet(frame, mac, 0x0806);
  put16(frame + 14, 1);
  put16(frame + 16, 0x0800);
  frame[18] = 6;
  frame[19] = 4;
  put16(frame + 20, operation);
  memcpy(frame + 22, network_mac, 6);
  put32(frame + 28, own_address);
  memcpy(frame + 32, target_mac, 6);
  put32(frame + 38, target);
  network_send(frame, sizeof frame);
}

void net_configure(uint32_t address) {
  static const uint8_t everyone[6] = {255, 255, 255, 255, 255, 255};
  own_address = address;
  if (address) arp_send(everyone, 1, everyone, address); /* so that switches and neighbours learn the card */
}
void net_listen(uint16_t port) { listening_port = port; }

static void segment(struct connection *c, uint8_t flags, uint32_t sequence, const char *data, size_t length) {
  uint8_t frame[14 + 20 + 24 + response_max];
  uint8_t *tcp = frame + 34;
  size_t header = flags & syn ? 24 : 20;
  memset(tcp, 0, header);
  put16(tcp, listening_port);
  put16(tcp + 2, c->peer_port);
  put32(tcp + 4, sequence);
  put32(tcp + 8, c->receive_next);
  tcp[12] = header / 4 << 4;
  tcp[13] = flags;
  put16(tcp + 14, request_max - c->request_length);
  if (flags & syn) put32(tcp + 20, 0x02040000 | response_max); /* largest segment */
  memcpy(tcp + header, data, length);
  uint32_t pseudo = (own_address >> 16) + (own_address & 0xffff) + (c->peer >> 16) + (c->peer & 0xffff) + 6 + header + length;
  put16(tcp + 16, checksum(tcp, header + length, pseudo));
  ip_send(frame, c->peer_mac, c->peer, 6, header + length);
}

/* Sends what is not acknowledged: the handshake, or the response with the end of the stream in one segment. */
static void transmit(struct connection *c) {
  c->sent_at = now_ms;
  if (!c->established) return segment(c, syn | ack, c->send_first, 0, 0);
  if (c->answered) segment(c, psh | fin | ack, c->send_first, c->response, c->response_length);
}

static struct connection *find(uint32_t peer, uint16_t port) {
  for (struct connection *c = connections; c < connections + connections_max; c++)
    if (c->used && c->peer == peer && c->peer_port == port) return c;
  return 0;
}

static void tcp_opened(const uint8_t *mac, uint32_t peer, uint16_t port, uint32_t sequence) {
  struct connection *c = connections;
  while (c < connections + connections_max && c->used) c++;
  if (c == connections + connections_max) return; /* the peer tries again */
  memset(c, 0, offsetof(struct connection, request));
  c->used = 1;
  memcpy(c->peer_mac, mac, 6);
  c->peer = peer;
  c->peer_port = port;
  c->receive_next = sequence + 1;
  c->send_first = next_sequence;
  c->send_next = next_sequence + 1;
  next_sequence += 0x20000;
  transmit(c);
}

static void tcp_data(struct connection *c, const uint8_t *data, size_t length) {
  size_t used;
  if (length > request_max - c->request_length) length = request_max - c->request_length;
  memcpy(c->request + c->request_length, data, length);
  c->request_length += length;
  c->receive_next += length;
  if (c->answered) return segment(c, ack, c->send_next, 0, 0);
  c->response_length = http_answer(c->request, c->request_length, c->response, &used);
  if (c->response_length == 0) return segment(c, ack, c->send_next, 0, 0);
  c->answered = 1;
  c->send_next = c->send_first + c->response_length + 1;
  transmit(c);
}

static void tcp(const uint8_t *mac, uint32_t peer, const uint8_t *tcp, size_t length) {
  size_t header = (tcp[12] >> 4) * 4;
  if (length < 20 || header < 20 || header > length || get16(tcp + 2) != listening_port) return;
  uint8_t flags = tcp[13];
  uint16_t port = get16(tcp);
  uint32_t sequence = get32(tcp + 4), acknowledged = get32(tcp + 8);
  struct connection *c = find(peer, port);
  if (c && flags & syn && sequence + 1 != c->receive_next) c->used = 0, c = 0; /* the port was used before */
  if (flags & rst) {
    if (c) c->used = 0;
    return;
  }
  if (!c) {
    if (flags & syn) return tcp_opened(mac, peer, port, sequence);
    struct connection stranger = {.peer = peer, .peer_port = port, .receive_next = sequence + length - header + (flags & fin)};
    memcpy(stranger.peer_mac, mac, 6);
    return segment(&stranger, rst | ack, acknowledged, 0, 0);
  }
  if (flags & ack && acknowledged == c->send_next) {
    c->send_first = c->send_next;
    c->established = 1;
    c->retransmits = 0;
    c->sent_at = now_ms;
  }
  if (!c->established) return transmit(c);
  if (length > header) {
    if (sequence == c->receive_next) tcp_data(c, tcp + header, length - header);
    else segment(c, ack, c->send_next, 0, 0);
  }
  if (flags & fin && sequence + (length - header) == c->receive_next && !c->peer_ended) {
    c->peer_ended = 1;
    c->receive_next++;
    segment(c, ack, c->send_next, 0, 0);
    if (!c->answered) c->used = 0; /* half a request, and no more to come */
  } else if (flags & fin && c->peer_ended) segment(c, ack, c->send_next, 0, 0);
  if (c->answered && c->peer_ended && c->send_first == c->send_next) c->used = 0;
}

int net_tick(void) {
  int waiting = 0;
  for (struct connection *c = connections; c < connections + connections_max; c++) {
    if (!c->used) continue;
    waiting = 1;
    if (c->send_first == c->send_next || (c->established && !c->answered)) {
      if (now_ms - c->sent_at > idle_max_ms) c->used = 0;
    } else if (now_ms - c->sent_at > (uint64_t)retransmit_ms << (c->retransmits > 4 ? 4 : c->retransmits)) {
      if (c->retransmits++ > retransmits_max) c->used = 0;
      else transmit(c);
    }
  }
  return waiting;
}

void net_frame(uint8_t *frame, size_t length) {
  if (length < 42 || !own_address) return;
  if (get16(frame + 12) == 0x0806) {
    if (get16(frame + 20) == 1 && get32(frame + 38) == own_address) arp_send(frame + 6, 2, frame + 22, get32(frame + 28));
    return;
  }
  uint8_t *ip = frame + 14;
  size_t header = (ip[0] & 15) * 4, total = get16(ip + 2);
  if (get16(frame + 12) != 0x0800 || ip[0] >> 4 != 4 || get32(ip + 16) != own_address) return;
  if (header < 20 || total < header + 8 || total + 14 > length) return;
  uint32_t peer = get32(ip + 12);
  if (ip[9] == 6) return tcp(frame + 6, peer, ip + header, total - header);
  if (ip[9] != 1 || ip[header] != 8) return;
  uint8_t reply[1514], mac[6];
  memcpy(mac, frame + 6, 6);
  memcpy(reply + 34, ip + header, total - header);
  reply[34] = 0;
  put16(reply + 36, 0);
  put16(reply + 36, checksum(reply + 34, total - header, 0));
  ip_send(reply, mac, peer, 1, total - header);
}
