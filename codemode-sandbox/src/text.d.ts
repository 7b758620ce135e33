declare module "*/harness.js" {
  const source: string;
  export default source;
}
