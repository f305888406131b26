/** Where the gateway answers. A file of its own: who mounts a gateway need not load it to know. */

export const prefixes = ["/oai/api/v1", "/v1"] as const

/** Whether a path is the gateway's. */
export const serves = (path: string): boolean =>
  prefixes.some((prefix) => path === prefix || path.startsWith(`${prefix}/`))
