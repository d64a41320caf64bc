export { kubernetesPolicy } from './kubernetes.policy.ts';
export { backoffMs, revisionHistoryDefault } from './lifecycle.ts';
export { manifestCharsMax, manifestObjectsMax } from './manifest/documents.ts';
export { defaultPriority, defaultPriorityClasses } from './manifest/pod.ts';
export { pidsAnnotation } from './manifest/resources.ts';
export { type KubernetesOptions, kubernetesOptions } from './options.ts';
export { default } from './plugin.ts';
export type { State } from './state.ts';
