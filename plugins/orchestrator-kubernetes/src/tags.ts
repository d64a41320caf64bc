/** Most tags of one instance that come from labels; the first by name. */
export const labelTagsMax = 32;

/** The tag that stands for a label of a pod, so that a rule of another plugin can select by it. */
export function labelTag(namespace: string, name: string, value: string): string {
  return `${namespace}/${name}=${value}`;
}

/** The tags of a pod: those that the manifest names, and one for each label. */
export function tagsOf(
  namespace: string,
  named: readonly string[] | undefined,
  labels: Readonly<Record<string, string>>,
): string[] {
  const fromLabels = Object.keys(labels).sort().slice(0, labelTagsMax);
  return [...(named ?? []), ...fromLabels.map((name) => labelTag(namespace, name, labels[name]!))];
}

/** The namespace of `<namespace>/<name>`. */
export function namespaceOf(name: string): string {
  const slash = name.indexOf('/');
  return slash < 0 ? '' : name.slice(0, slash);
}
