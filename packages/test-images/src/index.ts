export { cloudImage, cloudRoot } from './cloud-image.ts';
export { damage } from './damage.ts';
export { buildProgram, type TestProgram } from './programs.ts';
export { counterImage, obstacleToTestImages, shellImage } from './test-images.ts';
export { obstacleToVmImage, vmDiskImage, vmFiles, vmImage } from './vm-image.ts';
