import type { CloudosClient } from '@cloudos/client';
import { CloudosError, type ClusterView, type RecordedEvent } from '@cloudos/sdk';

export interface WaitOptions {
  /** For the message: `3 instances of default/web are ready`. */
  readonly what: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** The last state in words, for the message when time is up. */
  describe?(view: ClusterView): string;
}

/** How long a command waits for what it has asked for, unless --timeout says otherwise. */
export const waitTimeoutMs = 120_000;

/**
 * Waits until the cluster is as wanted: looks once, and again after each batch of events.
 * @throws CloudosError TIMED_OUT with the last state
 */
export async function waitForView(
  client: CloudosClient,
  wanted: (view: ClusterView) => boolean,
  options: WaitOptions,
): Promise<ClusterView> {
  let view = await client.view();
  if (wanted(view)) return view;
  const changes = new Changes(client, view.position + 1);
  const timer = setTimeout(() => changes.stop(), options.timeoutMs);
  const cancel = () => changes.stop();
  options.signal?.addEventListener('abort', cancel, { once: true });
  try {
    while (await changes.next()) {
      view = await client.view();
      if (wanted(view)) return view;
    }
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', cancel);
    changes.stop();
  }
  const state = options.describe ? `: ${options.describe(view)}` : '';
  throw new CloudosError('TIMED_OUT', `not within ${Math.round(options.timeoutMs / 1000)} s: ${options.what}${state}`, {
    remedy: 'See `cloudos get instances -o wide` and `cloudos why <name>`.',
  });
}

/** Tells that something has happened, however much it was since the last time. */
class Changes {
  readonly #unsubscribe: () => void;
  #changed = false;
  #ended = false;
  #failure: { error: unknown } | undefined;
  #wake: () => void = () => {};

  constructor(client: CloudosClient, from: number) {
    const subscription = client.events({ from }).subscribe({
      next: (_event: RecordedEvent) => {
        this.#changed = true;
        this.#wake();
      },
      error: (error: unknown) => {
        this.#failure = { error };
        this.#wake();
      },
    });
    this.#unsubscribe = () => subscription.unsubscribe();
  }

  /** False when it was stopped. */
  async next(): Promise<boolean> {
    if (!this.#changed && !this.#ended && !this.#failure) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure) throw this.#failure.error;
    this.#changed = false;
    return !this.#ended;
  }

  stop(): void {
    this.#ended = true;
    this.#unsubscribe();
    this.#wake();
  }
}
