import type { ErrorBody } from '@cloudos/sdk';

/** The WebSocket subprotocol of exec sockets. */
export const execProtocol = 'cloudos.exec.v1';

/**
 * Channels of an exec socket. Every message is binary: one byte names the channel, the rest is the payload.
 * An empty payload on `stdin` closes standard input.
 */
export const execChannels = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4 } as const;

export type ExecChannel = (typeof execChannels)[keyof typeof execChannels];

/**
 * JSON on the status channel. The first one is `started`, or `error` when the command could not be started;
 * the last one is `exitCode`, or `error`. The server closes the socket after the last one.
 */
export type ExecStatus = { readonly started: true } | { readonly exitCode: number } | { readonly error: ErrorBody };

/** JSON on the resize channel. */
export interface ExecResize {
  readonly columns: number;
  readonly rows: number;
}

export function encodeExecFrame(channel: ExecChannel, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(payload.byteLength + 1);
  frame[0] = channel;
  frame.set(payload, 1);
  return frame;
}

export function encodeExecJson(channel: ExecChannel, value: ExecStatus | ExecResize): Uint8Array {
  return encodeExecFrame(channel, new TextEncoder().encode(JSON.stringify(value)));
}

/** Splits a frame. The payload shares memory with the frame; undefined for an empty frame. */
export function decodeExecFrame(frame: Uint8Array): { channel: number; payload: Uint8Array } | undefined {
  const channel = frame[0];
  return channel === undefined ? undefined : { channel, payload: frame.subarray(1) };
}
