/** Layers by which events can be selected: who writes the type (`eventsByLayer` of the sdk). */
export const eventLayers = ['kernel', 'node', 'orchestrator', 'resources', 'network', 'migration'] as const;
export type EventLayer = (typeof eventLayers)[number];

/**
 * Which events a subscriber wants. Conditions are joined by and, values of one condition by or. What is absent holds for
 * every event. Evaluated on the server.
 */
export interface EventFilter {
  /** Event types; `*` at the end matches any rest. */
  readonly types?: readonly string[];
  /** Streams; `*` at the end matches any rest. */
  readonly streams?: readonly string[];
  /** `default/web`, or `web` for that: events about the workload and about every instance of it. */
  readonly workload?: string;
  /** Events about a node: those of its stream, and those whose data name it. */
  readonly node?: string;
  /** Events whose type belongs to that layer. */
  readonly layer?: EventLayer;
  /**
   * A causal chain. A correlation: every event that carries it. A position: the event there, every event that shares its
   * correlation, and those that were written by one who had handled the log up to just that position.
   */
  readonly cause?: string | number;
}
