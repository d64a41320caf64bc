import type { Cluster } from './cluster.ts';

/** Images that are remembered of one node. */
const imagesMax = 64;

/** A guest was made of the image of its template: the node has it. */
export function noteGuestImage(cluster: Cluster, instance: string, node: string): void {
  const image = cluster.instances.get(instance)?.kin.profile.image;
  const slot = cluster.nodes.slotOf(node);
  if (image !== undefined && slot >= 0) noteImage(cluster, slot, image);
}

/** The node has the image; past a bound the one that was made use of longest ago is forgotten. */
export function noteImage(cluster: Cluster, slot: number, image: string): void {
  const facts = cluster.nodes.facts[slot]!;
  facts.images ??= new Set();
  facts.images.delete(image);
  facts.images.add(image);
  if (facts.images.size > imagesMax) facts.images.delete(facts.images.values().next().value!);
}

/** Whether the node is known to have the image: a guest was made of it there lately. */
export function hasImage({ nodes }: Cluster, slot: number, image: string | undefined): boolean {
  return image !== undefined && (nodes.facts[slot]!.images?.has(image) ?? false);
}
