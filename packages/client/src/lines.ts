/** The most bytes of one line of a streamed answer. A longer one is a protocol error. */
export const lineMaxBytes = 4 * 1024 * 1024;

/** Values of a stream of JSON lines (application/x-ndjson), as they arrive. */
export async function* jsonLines<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > lineMaxBytes) throw new Error(`a line of the answer is longer than ${lineMaxBytes} bytes`);
      for (const line of lines) if (line !== '') yield JSON.parse(line) as T;
      if (done) break;
    }
    if (rest.trim() !== '') yield JSON.parse(rest) as T;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

export function bytesOfBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}
