/**
 * Every error code of cloudos, with what it means and what to do about it.
 * `docs/errors.md` is held against this table in both directions by a test.
 */
export const errorCodes = {
  // stack and plugins
  STACK_MALFORMED: [
    'The stack file is not valid YAML or does not match its schema.',
    'Correct the field that is named.',
  ],
  STACK_NOT_FOUND: ['The stack file does not exist or cannot be read.', 'Check the path given with --stack.'],
  PLUGIN_NOT_FOUND: [
    'No plugin package or path of that name can be loaded.',
    'Install the package or correct the path.',
  ],
  PLUGIN_INVALID: [
    'The package has no default export made with definePlugin.',
    'Export definePlugin({...}) as default.',
  ],
  PLUGIN_API_VERSION: ['The plugin was made for another apiVersion.', 'Install a plugin version made for this one.'],
  PLUGIN_CONFIG_INVALID: [
    'The configuration of a plugin does not match its schema.',
    'Correct the value that is named.',
  ],
  PLUGIN_REQUIREMENT: [
    'A slot or host feature that the plugin requires is missing.',
    'Add it to the stack or choose another plugin.',
  ],
  PLUGIN_FAILED: ['A plugin threw.', 'See the cause and `cloudos get plugins`.'],
  PLUGIN_TIMEOUT: [
    'A plugin did not answer within its deadline.',
    'See `cloudos get plugins`; it is restarted with backoff.',
  ],
  SLOT_CONFLICT: ['Two plugins claim a slot that holds one.', 'Remove one of them from the stack file.'],
  SLOT_MISMATCH: ['The plugin is made for another slot.', 'Move it to the slot that is named.'],
  SLOT_EMPTY: ['The slot holds no working provider at the moment.', 'See `cloudos get plugins` for the reason.'],
  SCOPE_CLOSE_TIMEOUT: [
    'A resource did not close within its deadline.',
    'The resource that is named hangs; look there.',
  ],
  SWAP_ABORTED: [
    'A swap failed before it was complete; the predecessor is still in charge.',
    'See the reason in SwapAborted.',
  ],
  SWAP_IN_PROGRESS: ['Another swap of the same slot is under way.', 'Wait for it to finish.'],
  // log
  LOG_HELD: [
    'Another process holds the log for writing.',
    'Stop the process that is named, or open the log read-only.',
  ],
  LOG_CORRUPT: [
    'Stored bytes do not match their checksum, or events are missing.',
    'Run `cloudos log verify`; restore from an export.',
  ],
  LOG_FULL: ['The disk that holds the log is full.', 'Free space on it; appends go on by themselves.'],
  LOG_CLOSED: ['The log was closed.', 'Open it again.'],
  LOG_READ_ONLY: ['An append was tried on a log opened read-only.', 'Open it for writing.'],
  LOG_UNAVAILABLE: ['The log cannot be opened or reached.', 'Check the path and its permissions.'],
  LOG_OVERLOADED: ['Too many appends are waiting.', 'Retry after those in flight have been acknowledged.'],
  LOG_TRIMMED: [
    'Events from before the first position that is kept were asked for.',
    'Begin at the first position that is named, from a snapshot of what came before, or read an export.',
  ],
  LOG_TRIM_REFUSED: [
    'The log cannot be trimmed that far: a state could not be rebuilt.',
    'Trim up to the position that is named, or remove the snapshot that nobody needs any more.',
  ],
  LOG_IMPORT_INVALID: ['A line of the import is not an event, or is out of order.', 'Correct the line that is named.'],
  REVISION_CONFLICT: [
    'The stream is not at the expected revision: another writer was faster.',
    'Read the stream again, then decide anew.',
  ],
  EVENT_INVALID: ['The data of an event does not match the schema of its type.', 'Correct the field that is named.'],
  EVENT_TYPE_UNKNOWN: [
    'The event type is neither shared nor private (x-<plugin>-…).',
    'Use a shared type or a private name.',
  ],
  EVENT_TOO_LARGE: [
    'An event or a batch of events is larger than the log takes.',
    'Split it, or store the bulk elsewhere.',
  ],
  // guests and hosts
  RUNTIME_UNAVAILABLE: ['The guest runtime cannot run on this node.', 'Do what `cloudos doctor` says.'],
  GUEST_NOT_FOUND: ['No guest of that name is on the node.', 'List them with `cloudos get instances`.'],
  GUEST_SPEC_INVALID: ['The runtime cannot give the guest what its specification asks.', 'Change what is named.'],
  GUEST_STATE: ['The guest is not in a state that allows this.', 'See its state with `cloudos get instances`.'],
  GUEST_START_FAILED: ['The guest could not be started.', 'See the cause.'],
  GUEST_UNSUPPORTED: ['The runtime does not support this operation.', 'See `supports` of the plugin.'],
  IMAGE_NOT_FOUND: ['The image is not known to the runtime.', 'Check the name; `host:` is the userland of the host.'],
  IMAGE_CORRUPT: [
    'Stored bytes of an image do not match their digest.',
    'Import the image again: `cloudos image import` replaces what is damaged.',
  ],
  IMAGE_INVALID: [
    'What was given to import is not an image of a known form.',
    'See the forms in `cloudos image import --help`.',
  ],
  IMAGE_UNSUITABLE: [
    'The runtime cannot run images of that kind.',
    'Use the kind of image or the runtime that is named.',
  ],
  REGISTRY_UNREACHABLE: [
    'The registry of an image does not answer as one.',
    'See the cause: whether it runs, is reached by that name, and has a certificate.',
  ],
  IMAGE_IN_USE: ['Guests use the image.', 'Remove the guests that are named first.'],
  IMAGE_STORE_BUSY: [
    'Another process works on the image store for longer than is waited.',
    'Try again when it is done.',
  ],
  DISK_FULL: ['There is no space left on the disk.', 'Free space at the path that is named; then try again.'],
  NAME_TAKEN: [
    'The runtime has something of that name which cloudos did not make.',
    'Rename or remove it with the tools of the runtime.',
  ],
  GUEST_UNRESPONSIVE: ['The guest does not answer.', 'See its logs; stop it if it stays so.'],
  SNAPSHOT_NOT_FOUND: ['The guest has no snapshot of that name.', 'Use a name that `snapshot` was called with.'],
  SNAPSHOT_INVALID: ['The data is not a complete snapshot of this runtime.', 'Export the snapshot again.'],
  SECRET_NOT_FOUND: ['A secret that a guest refers to is not there.', 'Write it to the file that is named, mode 0600.'],
  SECRET_EXPOSED: ['The file of a secret can be read by others.', 'chmod 600 the file that is named.'],
  HOST_PATH_FORBIDDEN: [
    'A guest asks for a path of the node that the runtime may not give.',
    'Allow a directory above it with `hostPaths` in the configuration of the plugin.',
  ],
  COMMAND_NOT_FOUND: ['The command does not exist in the guest.', 'Check the command and the image.'],
  HOST_COMMAND_FAILED: ['A command on the host failed.', 'See its output in the message.'],
  ADDRESSES_EXHAUSTED: ['The node has no free guest address left.', 'Remove guests or configure a larger subnet.'],
  PORT_IN_USE: ['Another process listens on the port.', 'Stop it or configure another port.'],
  PERMISSION_DENIED: ['The process lacks a permission.', 'Do what the message says.'],
  // commands and manifests
  COMMAND_INVALID: ['The command does not match its schema.', 'Correct the field that is named.'],
  COMMAND_REFUSED: ['The command was refused.', 'See the reason.'],
  COMMAND_UNSUPPORTED: ['The plugin in charge does not know this command.', 'See `supports` of the plugin.'],
  MANIFEST_MALFORMED: ['The manifest is not valid YAML.', 'Correct the line that is named.'],
  MANIFEST_INVALID: ['The manifest has a field of a wrong type or value.', 'Correct the field that is named.'],
  MANIFEST_KIND_UNKNOWN: ['The orchestrator does not know the kind.', 'Use one of the kinds that are named.'],
  WORKLOAD_NOT_FOUND: ['No workload of that name exists.', 'List them with `cloudos get workloads`.'],
  NODE_NOT_FOUND: ['No node of that name exists.', 'List them with `cloudos get nodes`.'],
  INSTANCE_NOT_FOUND: ['No instance of that name exists.', 'List them with `cloudos get instances`.'],
  TRACE_MALFORMED: [
    'A line of a trace cannot be understood.',
    'Correct the line that is named; docs/traces.md has the format.',
  ],
  SHADOW_EXISTS: [
    'A shadow of that plugin runs already.',
    'See `cloudos shadow`; end it first to give it another configuration.',
  ],
  SHADOWS_EXCEEDED: ['As many shadows run as may.', 'End one of them.'],
  SHADOW_NOT_FOUND: ['No shadow of that plugin runs.', 'Use one of the names in the message.'],
  RESERVATION_NOT_FOUND: ['No reservation of that name exists.', 'Check the name in the events ReservationRequested.'],
  REVISION_NOT_FOUND: ['The workload has no such revision to return to.', 'See `cloudos describe`.'],
  POSITION_OUT_OF_RANGE: ['The position lies outside of the log.', 'Use one between 0 and the head.'],
  // gateway
  UNAUTHENTICATED: ['The token is missing or wrong.', 'Use the token in the file that is named.'],
  TOKEN_EXPIRED: ['The token was valid until the time that is named.', 'Make another with `cloudos token create`.'],
  TOKEN_REVOKED: ['The token was revoked.', 'Make another with `cloudos token create`.'],
  SUBSCRIPTION_NOT_FOUND: [
    'No named subscription of that name belongs to the token.',
    'List them with `cloudos subscription list`.',
  ],
  SUBSCRIPTION_CONFLICT: [
    'A named subscription of that name was made with another filter.',
    'Leave the filter out, or use another name.',
  ],
  SUBSCRIPTIONS_DAMAGED: [
    'The file that keeps the named subscriptions is not what was written.',
    'Restore it from a copy, or remove it: every subscription begins anew then.',
  ],
  TOKEN_NOT_FOUND: ['No token has that id or name.', 'List them with `cloudos token list`.'],
  TOKEN_EXISTS: ['An active token has that name.', 'Choose another name, or revoke that one first.'],
  TOKENS_EXCEEDED: ['There are as many active tokens as there may be.', 'Revoke those that are not needed.'],
  STATE_UNWRITABLE: [
    'A file of the state directory cannot be written.',
    'Free space on its disk, or correct its permissions; then try again.',
  ],
  TOKENS_MALFORMED: [
    'The file of the tokens cannot be understood; whom to let in is not known.',
    'Restore it, or remove it: every token but the one in the token file is then void.',
  ],
  TLS_INVALID: [
    'The certificate or the key of the gateway cannot be used.',
    'Correct the file that is named (gateway.tls in the stack file).',
  ],
  TLS_UNTRUSTED: [
    'The gateway shows a certificate that is not trusted.',
    'Compare its fingerprint with the one that `cloudos up` printed, then give --fingerprint, or --ca-file.',
  ],
  SCOPE_MISSING: [
    'The token does not hold the scope that the request needs.',
    'Use a token with the scope that is named: `cloudos token create --scope …`.',
  ],
  ORIGIN_FORBIDDEN: [
    'A browser page of another origin sent the request.',
    'Add the origin to the gateway configuration.',
  ],
  REQUEST_MALFORMED: ['The request cannot be understood.', 'Correct what is named.'],
  REQUEST_TOO_LARGE: ['The request body is larger than is allowed.', 'Send less at once.'],
  GATEWAY_OVERLOADED: [
    'The gateway serves as many connections as it may.',
    'Close connections that are not needed, or retry later.',
  ],
  RATE_LIMITED: [
    'More requests or messages came from the token or the address than are allowed.',
    'Wait as long as Retry-After says.',
  ],
  CONNECTIONS_EXCEEDED: [
    'The token or the address has as many connections open as it may.',
    'Close connections that are not needed.',
  ],
  SUBSCRIPTIONS_EXCEEDED: [
    'The token has as many subscriptions open as it may.',
    'Close subscriptions that are not needed.',
  ],
  SUBPROTOCOL_UNSUPPORTED: [
    'None of the WebSocket subprotocols that were offered is spoken here.',
    'Offer one of those that are named.',
  ],
  ROUTE_NOT_FOUND: ['There is nothing at this path.', 'See the list of routes in the message.'],
  KERNEL_NOT_RUNNING: ['No kernel runs with this state directory.', 'Start it with `cloudos up`.'],
  KERNEL_ALREADY_RUNNING: ['A kernel already runs with this state directory.', 'Use it, or give another directory.'],
  KERNEL_UNREACHABLE: ['The kernel does not answer.', 'See whether its process is alive.'],
  TIMED_OUT: ['What was waited for did not happen in time.', 'See the last state in the message.'],
  INTERNAL: ['A defect in cloudos itself.', 'Report it with the message and the diagnostic log of the kernel.'],
  USAGE: ['The command line is not understood.', 'See --help.'],
} as const satisfies Record<string, readonly [meaning: string, remedy: string]>;

/** A stable error code. Match on it, never on the class or the message. */
export type ErrorCode = keyof typeof errorCodes;

/** Which plugin an error came from; stamped on by the kernel. */
export interface ErrorOrigin {
  plugin: string;
  generation: number;
}

export interface CloudosErrorOptions {
  cause?: unknown;
  /** What to do next, where it is more specific than the remedy of the code. */
  remedy?: string;
  /** Structured context for programs. Never a secret. */
  details?: Readonly<Record<string, unknown>>;
}

/**
 * An operational failure: the world did not do what was asked. A bug is any other `Error`; a refusal is a value.
 * The message names what was given and what was expected; `remedy` says what to do next.
 */
export class CloudosError extends Error {
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly details: Readonly<Record<string, unknown>>;
  origin?: ErrorOrigin;

  constructor(code: ErrorCode, message: string, options: CloudosErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CloudosError';
    this.code = code;
    this.remedy = options.remedy ?? errorCodes[code][1];
    this.details = options.details ?? {};
  }

  /** The shape in which an error crosses a wire. */
  toJSON(): ErrorBody {
    return { code: this.code, message: this.message, remedy: this.remedy, details: this.details, origin: this.origin };
  }
}

export interface ErrorBody {
  code: string;
  message: string;
  remedy: string;
  details?: Readonly<Record<string, unknown>> | undefined;
  origin?: ErrorOrigin | undefined;
}

/** True for an operational failure with that code, also when it crossed package versions or a wire. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return errorCode(error) === code;
}

/** The code of an operational failure, or undefined for anything else. */
export function errorCode(error: unknown): ErrorCode | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' && code in errorCodes ? (code as ErrorCode) : undefined;
}

/** The message of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Wraps anything thrown as an operational failure; one that is so already stays as it is. */
export function asCloudosError(thrown: unknown, code: ErrorCode, message?: string): CloudosError {
  if (thrown instanceof Error && errorCode(thrown) !== undefined) return thrown as CloudosError;
  return new CloudosError(code, message ? `${message}: ${messageOf(thrown)}` : messageOf(thrown), { cause: thrown });
}

/** A command that is understood and not carried out. A value, never thrown. */
export interface Refusal {
  refused: { code: ErrorCode; message: string; remedy?: string; details?: Readonly<Record<string, unknown>> };
}

export function refuse(code: ErrorCode, message: string, remedy?: string): Refusal {
  return { refused: remedy === undefined ? { code, message } : { code, message, remedy } };
}

export function isRefusal(value: object): value is Refusal {
  return 'refused' in value;
}
