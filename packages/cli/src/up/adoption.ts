import type { CloudosClient } from '@cloudos/client';

/** Guests that were running when the kernel started and that it has taken over: not started since. */
export async function adoptedInstances(client: CloudosClient): Promise<string[]> {
  const [{ startedAt }, view] = await Promise.all([client.status(), client.view()]);
  const started = new Set<string>();
  for await (const { time, data } of client.history({ direction: 'backwards', types: ['GuestStarted'] })) {
    if (time < startedAt) break;
    started.add((data as { instance: string }).instance);
  }
  return view.instances
    .filter(({ state, instance }) => (state === 'running' || state === 'ready') && !started.has(instance))
    .map(({ instance }) => instance);
}
