import { CloudosError, type ErrorBody, type ErrorCode, messageOf } from '@cloudos/sdk';
import { bearerProtocolPrefix } from './access.ts';

export interface HttpOptions {
  /** `http://127.0.0.1:7070`. */
  readonly url: string;
  readonly token: string;
  readonly fetch?: typeof fetch;
}

export interface HttpRequest {
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  readonly body?: unknown;
  readonly accept?: string;
  /** Until the answer begins. Default 30 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether nothing happens twice when it is sent twice. Default: of a GET. */
  readonly repeatable?: boolean;
}

/** How long a request may wait for its answer unless it says otherwise. */
export const requestTimeoutMs = 30_000;

/**
 * How often a repeatable request is sent when its connection breaks before an answer. A server ends a connection that it
 * takes for idle, and what was sent over it at that moment is lost (RFC 9112, 9.3.1): a busy one does so with a request
 * that it has not read yet.
 */
const attemptsMax = 3;

/** How a connection that broke is told of by Node.js: by the system, or by its `fetch`. One that is refused is not. */
const broken: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

/** The gateway's HTTP side: requests in, JSON or a CloudosError out. */
export class HttpConnection {
  readonly #options: HttpOptions;
  readonly #base: string;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#base = options.url.replace(/\/+$/, '');
  }

  /** Address of a WebSocket route. */
  socketUrl(path: string, query: HttpRequest['query'] = {}): string {
    return this.#url(path, query).replace(/^http/, 'ws');
  }

  /** What to offer in a handshake: the subprotocols, and the token, where a browser can put it. */
  socketProtocols(...spoken: readonly string[]): string[] {
    return [...spoken, `${bearerProtocolPrefix}${this.#options.token}`];
  }

  async json<T>(path: string, request: HttpRequest = {}): Promise<T> {
    const response = await this.send(path, request);
    try {
      return (await response.json()) as T;
    } catch (error) {
      throw unreachable(this.#base, error);
    }
  }

  /** @throws CloudosError with the code of the answer, KERNEL_UNREACHABLE, or TIMED_OUT */
  async send(path: string, request: HttpRequest = {}): Promise<Response> {
    const timeoutMs = request.timeoutMs ?? requestTimeoutMs;
    const abort = new AbortController();
    const cancel = () => abort.abort(request.signal?.reason);
    if (request.signal?.aborted) cancel();
    request.signal?.addEventListener('abort', cancel, { once: true });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      abort.abort();
    }, timeoutMs);
    try {
      const response = await this.#fetch(path, request, abort.signal);
      if (!response.ok) throw await errorOfResponse(response);
      return response;
    } catch (error) {
      if (error instanceof CloudosError) throw error;
      if (late) {
        throw new CloudosError('TIMED_OUT', `${request.method ?? 'GET'} ${path}: no answer in ${timeoutMs} ms`);
      }
      if (request.signal?.aborted) throw error;
      throw unreachable(this.#base, error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #fetch(path: string, request: HttpRequest, signal: AbortSignal): Promise<Response> {
    const url = this.#url(path, request.query ?? {});
    const method = request.method ?? 'GET';
    const init = {
      method,
      headers: {
        authorization: `Bearer ${this.#options.token}`,
        accept: request.accept ?? 'application/json',
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      signal,
    };
    const isRepeatable = request.repeatable ?? method === 'GET';
    for (let attempt = 1; ; attempt++) {
      try {
        return await (this.#options.fetch ?? fetch)(url, init);
      } catch (error) {
        const code = (error as { cause?: { code?: unknown } } | undefined)?.cause?.code;
        if (!isRepeatable || attempt >= attemptsMax || signal.aborted || !broken.has(code)) throw error;
      }
    }
  }

  #url(path: string, query: NonNullable<HttpRequest['query']>): string {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value === undefined) continue;
      if (Array.isArray(value)) for (const item of value as readonly string[]) parameters.append(name, item);
      else parameters.append(name, String(value));
    }
    const text = parameters.toString();
    return `${this.#base}${path}${text === '' ? '' : `?${text}`}`;
  }
}

/** What Node.js says of a certificate that it does not trust (doc/api/tls.md, X509 certificate error codes). */
const untrusted =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|CERT_|ERR_TLS_CERT_ALTNAME_INVALID|TLS_UNTRUSTED)/;

function unreachable(url: string, cause: unknown): CloudosError {
  const inner = (cause as { cause?: unknown } | undefined)?.cause;
  const code = (inner as { code?: unknown } | undefined)?.code;
  if (typeof code === 'string' && untrusted.test(code)) {
    return new CloudosError('TLS_UNTRUSTED', `the certificate of ${url} is not trusted: ${messageOf(inner)}`, {
      cause,
    });
  }
  const reason = inner === undefined ? messageOf(cause) : messageOf(inner);
  return new CloudosError('KERNEL_UNREACHABLE', `no usable answer from ${url}: ${reason}`, { cause });
}

/** The error that a wire form stands for. Codes of a newer server pass as they are. */
export function errorOfBody(body: ErrorBody): CloudosError {
  const error = new CloudosError(body.code as ErrorCode, body.message, {
    remedy: body.remedy,
    ...(body.details === undefined ? {} : { details: body.details }),
  });
  if (body.origin) error.origin = body.origin;
  return error;
}

async function errorOfResponse(response: Response): Promise<CloudosError> {
  const text = await response.text().catch(() => '');
  try {
    const body = JSON.parse(text) as Partial<ErrorBody>;
    if (typeof body.code === 'string' && typeof body.message === 'string') {
      return errorOfBody({ ...body, code: body.code, message: body.message, remedy: body.remedy ?? '' });
    }
  } catch {
    // Not ours: something else answers at that address.
  }
  return new CloudosError(
    'KERNEL_UNREACHABLE',
    `${response.url} answered ${response.status} without an error body: ${text.slice(0, 200)}`,
    { remedy: 'See whether a cloudos gateway listens at that address.' },
  );
}
