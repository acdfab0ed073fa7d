{
  description = "The locked environments of iree-matrix as store paths, and the matrix itself";

  # No inputs: nothing of nixpkgs is needed, and nothing is fetched. A flake of your own can put both together.
  inputs = { };

  outputs =
    { self }:
    let
      # One table for each Python and machine. Attributes are named like the locks: compiler-3_8_0, runtime-3_13_0.
      of =
        table:
        import ./images/nix/environments.nix {
          inherit table;
          code = self.outPath;
        };
      x86_64 = of ./images/nix/3.11-x86_64.json;
      aarch64 = of ./images/nix/3.11-aarch64.json;
      apps =
        locked:
        builtins.mapAttrs
          (name: program: {
            type = "app";
            program = "${program}/bin/${name}";
          })
          {
            inherit (locked) matrix shell;
          };
    in
    {
      packages.x86_64-linux = x86_64.programs // { default = x86_64.matrix; };
      packages.aarch64-linux = aarch64.programs // { default = aarch64.matrix; };
      apps.x86_64-linux = apps x86_64 // { default = (apps x86_64).matrix; };
      apps.aarch64-linux = apps aarch64 // { default = (apps aarch64).matrix; };
    };
}
