export {
  type DiskFiles,
  diskFiles,
  dockerArchive,
  flatArchive,
  layerStream,
  rootDirectory,
  squashfsDisk,
} from './forms.ts';
export {
  commandLine,
  type DiskBoot,
  type DiskImage,
  type HostImage,
  type Image,
  type ImageKind,
  type ImageProgram,
  type ImageSummary,
  imageKinds,
  type OciImage,
  type StoredContent,
  type StoredImage,
  type UnikernelImage,
} from './image.ts';
export { type GarbageReport, ImageStore } from './image-store.ts';
export { formOf, type ImportForm, type ImportSource, importForms, importImage } from './import-image.ts';
export type { ImportOptions, ImportProgress } from './import-options.ts';
export { applyLayer, type Unpacked } from './layer.ts';
export { type Descriptor, type ImageConfig, type ImageManifest, mediaTypes } from './oci.ts';
export { hostReference, isDigest, normalReference } from './reference.ts';
