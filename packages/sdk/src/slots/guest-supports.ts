/**
 * What a `guest` plugin may say in `supports`, and what each promises. The conformance suite tests what is `true`, and
 * that what is not is absent or refused with GUEST_UNSUPPORTED. What a plugin supports in general and the node at hand
 * cannot give is `false` under the same name in `features` of the fingerprint; so is what a plugin with several drivers
 * supports only with another one.
 */
export const guestSupports = {
  adopt: 'guests outlive the driver and are taken over by their handle',
  exec: 'commands run in a guest',
  tty: 'a command gets a terminal, which can be resized',
  logs: 'what a guest writes can be read, while it runs and afterwards',
  logsSince: 'logs can be read from a time on',
  stats: 'use of resources can be asked for',
  pause: 'a guest can be paused and goes on',
  resize: 'limits change while a guest runs: `resize`',
  snapshot: 'the state is saved and put back: `snapshot`, `restore`',
  snapshotMemory: 'a snapshot holds the memory of the running guest',
  export: 'a snapshot leaves the node as bytes and comes back: `export`, `import`',
  probe: 'the driver answers probes itself',
  network: 'a guest is reached at its address',
  guestNetwork: 'guests reach each other at their addresses, whatever their runtimes',
  signals: 'guests are processes of the node: they end by signals, and `pid` is theirs',
  commandCheck: 'a command that the image lacks is refused',
  imageCheck: 'an image that is not known is refused',
  imageDigest: 'an image whose stored bytes were damaged is refused with IMAGE_CORRUPT',
  memoryLimit: 'a guest that exceeds its memory limit is killed for it, and nothing else is',
  cpuLimit: 'a guest gets no more processor time than its limit',
  pidsLimit: 'a guest gets no more processes than its limit',
  diskLimit: 'a guest writes no more than its limit: it gets ENOSPC, and the node goes on',
  readOnlyRoot: 'a guest that shall not write to its root cannot',
  pods: 'a guest runs several containers with one network and a root for each, which are told apart by name',
  mounts: 'paths of the node that the configuration allows are found in the guest, others are refused',
  secrets: 'variables are filled from secrets, which are found in no record of the driver that others can read',
  unprivileged: 'a guest has no capability, gets none, and system calls that none needs are refused',
} as const satisfies Record<string, string>;

/** A name that `supports` of a `guest` plugin may have. */
export type GuestSupport = keyof typeof guestSupports;
