// The part of mx-connect 1.6 that is used here; the package has no types of its own.

declare module 'mx-connect' {
  import type { Socket } from 'node:net'

  type Callback = (error: Error | null, records?: readonly unknown[]) => void

  interface Resolve {
    (name: string, callback: Callback): void
    (name: string, type: string, callback: Callback): void
  }

  interface Failure extends Error {
    code?: string
    category?: 'dns' | 'network' | 'policy' | 'dane'
  }

  interface StsPolicy {
    readonly id?: string | false
    readonly mode?: string
    readonly maxAge?: number
    readonly mx?: readonly string[]
  }

  interface Options {
    target: string
    port: number
    mx: readonly { exchange: string; priority: number; A?: readonly string[] }[]
    maxConnectTime: number
    localAddressIPv4?: string | undefined
    localAddressIPv6?: string | undefined
    ignoreMXHosts: readonly string[]
    dnsOptions: { ignoreIPv6: boolean; preferIPv6: boolean; resolve: Resolve }
    connectHook?: (delivery: unknown, options: { host: string }, callback: (error?: Error) => void) => void
    connectError?: (error: Failure, delivery: unknown, options: { host?: string }) => void
    mtaSts: {
      enabled: boolean
      cache?: {
        get(domain: string): Promise<StsPolicy | false>
        set(domain: string, policy: StsPolicy): Promise<unknown>
      }
    }
    dane: {
      enabled: boolean
      resolveTlsa?: (name: string) => Promise<readonly unknown[]>
    }
  }

  interface Connection {
    socket: Socket
    hostname: string
    host: string
    daneVerifier?: (host: string, certificate: { raw: Buffer; publicKey: string }) => Error | undefined
  }

  function mxConnect(options: Options): Promise<Connection>

  namespace mxConnect {
    export type { Connection, Failure, Options, Resolve, StsPolicy }
  }

  export default mxConnect
}
