/* A key-value counter as a virtual machine: no operating system below it but these files. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* platform.c: what a PC gives. */
/* Statuses that the host understands; others, 0 to 60, are the program's own. */
enum { exit_panic = 61, exit_out_of_memory = 62 };
void platform_init(uint64_t heap_start, uint64_t heap_end);
void *allocate(size_t size);         /* 16-byte aligned; 0: no memory is left */
void release(void *memory);
_Noreturn void power_off(int status); /* told to the host by isa-debug-exit */
void print(const char *text);         /* first serial port: what the program says */
void complain(const char *text);      /* second serial port: what went wrong */
void wait_for_interrupt(void);
void tick_every(uint64_t milliseconds); /* 0: no ticks */
extern volatile uint64_t now_ms;        /* counts while ticks are on */
void *memset(void *to, int value, size_t length);
void *memcpy(void *to, const void *from, size_t length);
int memcmp(const void *a, const void *b, size_t length);
size_t strlen(const char *text);

/* virtio.c: the MMIO transport (virtio 1.1, 4.2), a console port and a network card. */
void virtio_init(void);
void virtio_acknowledge(void);                         /* from the interrupt handler */
size_t console_receive(void *to, size_t max);          /* 0: nothing is there */
void console_send(const void *from, size_t length);
size_t network_receive(void *to, size_t max);          /* one frame */
void network_send(const void *frame, size_t length);
extern uint8_t network_mac[6];

/* net.c: Ethernet, ARP, ICMP echo, and a TCP server of one segment a response. */
void net_configure(uint32_t address);                  /* host byte order; announces it */
void net_listen(uint16_t port);
void net_frame(uint8_t *frame, size_t length);
int net_tick(void);                                    /* 1: something is waiting for an acknowledgement */

/* http.c */
enum { request_max = 2048, response_max = 1400, value_max = 1024, key_max = 128 };
extern const char *fixed_body;                         /* answers every request where it is set */
/* 0: the request is not complete; otherwise the length of the response, and in *used that of the request. */
size_t http_answer(const char *request, size_t length, char *response, size_t *used);
