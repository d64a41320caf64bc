import { CloudosError } from '@cloudos/sdk';

/** Types of messages to and from the agent; see agent/agent.h. */
export const types = {
  boot: 'B',
  configure: 'C',
  run: 'X',
  input: 'I',
  inputEnd: 'E',
  resize: 'R',
  endSession: 'K',
  signalMain: 'S',
  askUsage: 'U',
  container: 'P',
  prepare: 'L',
  ready: 'H',
  started: 'M',
  refused: 'N',
  output: 'O',
  errorOutput: 'F',
  ended: 'Q',
  taken: 'A',
  usage: 'T',
} as const;

/** The channel of the program of a container beside the first; that of the first is 0. */
export function containerChannel(index: number): number {
  return 0x8000_0000 + index;
}

export interface AgentMessage {
  readonly type: string;
  readonly channel: number;
  readonly payload: Buffer;
}

export type Fields = readonly (readonly [name: string, value: string])[];

const headBytes = 9;
/** The largest payload that the agent takes, and sends. */
export const payloadMaxBytes = 262_144;
/** As many arguments as it takes, and as many variables. */
const wordsMax = 4_000;

/** Length of the payload (4 bytes, little endian), type (1), channel (4), payload. */
export function encode(type: string, channel: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const message = Buffer.alloc(headBytes + payload.length);
  message.writeUInt32LE(payload.length, 0);
  message.write(type, 4, 'latin1');
  message.writeUInt32LE(channel, 5);
  message.set(payload, headBytes);
  return message;
}

/**
 * Fields as the agent reads them: name and value, each ended by NUL.
 * @throws CloudosError GUEST_SPEC_INVALID when they are more than it takes
 */
export function encodeFields(fields: Fields): Buffer {
  if (fields.some(([, value]) => value.includes('\0'))) {
    throw new CloudosError('GUEST_SPEC_INVALID', 'a command or a variable contains a NUL character');
  }
  const payload = Buffer.from(fields.map(([name, value]) => `${name}\0${value}\0`).join(''));
  for (const [kind, what] of [
    ['arg', 'arguments'],
    ['env', 'variables'],
  ]) {
    const count = fields.filter(([name]) => name === kind).length;
    if (count > wordsMax) throw tooMuch(`${count} ${what}`, `${wordsMax} at most`);
  }
  if (payload.length <= payloadMaxBytes) return payload;
  throw tooMuch(`arguments and variables of ${payload.length} bytes`, `at most ${payloadMaxBytes}`);
}

function tooMuch(given: string, most: string): CloudosError {
  return new CloudosError('GUEST_SPEC_INVALID', `a program has ${given}; in a virtual machine it takes ${most}`, {
    remedy: 'give it what is large in a file: a mount, or its image',
  });
}

/** Takes what is complete off the front; `rest` is the beginning of the next. */
export function decode(data: Buffer): { messages: AgentMessage[]; rest: Buffer } {
  const messages: AgentMessage[] = [];
  let at = 0;
  while (data.length - at >= headBytes) {
    const length = data.readUInt32LE(at);
    if (length > payloadMaxBytes) throw new RangeError(`the agent sent a message of ${length} bytes`);
    if (data.length - at < headBytes + length) break;
    messages.push({
      type: data.toString('latin1', at + 4, at + 5),
      channel: data.readUInt32LE(at + 5),
      payload: Buffer.from(data.subarray(at + headBytes, at + headBytes + length)),
    });
    at += headBytes + length;
  }
  return { messages, rest: data.subarray(at) };
}
