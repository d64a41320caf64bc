export { damage } from './damage.ts';
export { buildProgram, type TestProgram } from './programs.ts';
export { counterImage, obstacleToTestImages, shellImage } from './test-images.ts';
export { obstacleToVmImage, vmFiles, vmImage } from './vm-image.ts';
