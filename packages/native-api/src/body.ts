import type { IncomingMessage, ServerResponse } from 'node:http';
import { CloudosError } from '@cloudos/sdk';

export interface BodyLimits {
  readonly maxBytes: number;
}

/** The body of a request as text. @throws CloudosError REQUEST_TOO_LARGE, REQUEST_MALFORMED (it broke off) */
export async function readBody(request: IncomingMessage, { maxBytes }: BodyLimits): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new CloudosError('REQUEST_TOO_LARGE', `the body has more than the ${maxBytes} bytes that are allowed`);
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof CloudosError) throw error;
    throw new CloudosError('REQUEST_MALFORMED', 'the body of the request broke off', { cause: error });
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Answers with JSON. Does nothing when the answer has begun already. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
