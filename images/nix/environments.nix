# The locked environments as store paths. Nothing here is fetched: a wheel and a base are known by their sha256 and are
# in the store already, put there by `python -m matrix image build --engine nix` or by a binary cache.
#
# table: 3.11-x86_64.json and its like beside this file, written by `nox -s lock`.
# code: the folder that holds the Python package `matrix`.
{
  table ? ./3.11-x86_64.json,
  code ? ../..,
}:
let
  locked = builtins.fromJSON (builtins.readFile table);
  inherit (locked) python machine;

  # A file (mode "flat") or folder (mode "recursive") that comes from elsewhere, by its sha256. There is no such address:
  # where the file is not in the store, Nix says it in its message, without a shell and also in a sandbox.
  given =
    mode: name: sha256:
    derivation {
      inherit name;
      system = "builtin";
      builder = "builtin:fetchurl";
      url = "file:///${name} is not in the Nix store: put it there with: python -m matrix image build --engine nix";
      preferLocalBuild = true;
      outputHashMode = mode;
      outputHashAlgo = "sha256";
      outputHash = sha256;
    };

  base = given "recursive" locked.base.name locked.base.nar;
  wheel = name: given "flat" name locked.wheels.${name};
  libraries = "${base}/usr/lib/${machine}-linux-gnu";
  loader =
    {
      x86_64 = "ld-linux-x86-64.so.2";
      aarch64 = "ld-linux-aarch64.so.1";
    }
    .${machine};

  # Of the package only what unpacks wheels, so that nothing else of it makes another builder.
  unpacking = builtins.path {
    path = code;
    name = "iree-matrix-unpacking";
    filter =
      path: type:
      builtins.elem path (
        map (name: "${toString code}/${name}") [
          "matrix"
          "matrix/__init__.py"
          "matrix/core"
          "matrix/core/__init__.py"
          "matrix/core/errors.py"
          "matrix/images"
          "matrix/images/__init__.py"
          "matrix/images/layer.py"
          "matrix/images/nix"
          "matrix/images/nix/__init__.py"
          "matrix/images/nix/builder.py"
          "matrix/images/nix/environment_tree.py"
          "matrix/images/wheel_layer.py"
        ]
      );
  };

  # imports: wheels from which the builder imports, beside the unpacking code.
  build =
    name: what: facts: imports: more:
    derivation (
      {
        inherit name;
        system = "${machine}-linux";
        builder = "${libraries}/${loader}";
        args = [
          "--library-path"
          libraries
          "${base}/usr/bin/python${python}"
          "-I"
          "-S"
          "-B"
          "${unpacking}/matrix/images/nix/builder.py"
          what
          "${unpacking}"
        ]
        ++ imports;
        GIVEN = builtins.toJSON ({ inherit python; } // facts);
      }
      // more
    );

  # What a container has as /opt/env. It names no other path of the store, so it is known by its own content.
  environment =
    row:
    build row.name "environment" { wheels = map (name: "${wheel name}") row.wheels; } [ "${wheel locked.installer}" ] {
      outputHashMode = "recursive";
      outputHashAlgo = "sha256";
      outputHash = row.nar;
    };

  # The same with a `bin` that starts on any machine. Its closure is all that an environment needs.
  programs =
    row:
    build "${row.name}-programs" "programs" {
      inherit loader libraries;
      tools = builtins.listToAttrs (
        map (path: {
          name = baseNameOf path;
          value = path;
        }) row.tools
      );
      base = "${base}";
      environment = "${environment row}";
    } [ ] { };

  each =
    make:
    builtins.listToAttrs (
      map (row: {
        name = builtins.replaceStrings [ "/" "." "+" ] [ "-" "_" "-" ] row.lock;
        value = make row;
      }) locked.environments
    );
  # The programs of the newest release of a kind; none where the table has none.
  newest =
    kind:
    let
      rows = builtins.filter (row: builtins.match "${kind}/.*" row.lock != null) locked.environments;
      sorted = builtins.sort (a: b: builtins.compareVersions a.lock b.lock > 0) rows;
    in
    if sorted == [ ] then [ ] else [ "${programs (builtins.head sorted)}/bin" ];

  own = programs (builtins.head (builtins.filter (row: row.lock == "matrix") locked.environments));
in
{
  environments = each environment;
  programs = each programs;

  # This project on its own Python. Of `code` all is in it, so it is built for a flake only.
  matrix = build "iree-matrix" "app" {
    python = "${own}/bin/python";
    code = "${code}";
  } [ ] { };

  # A shell with what the project imports and the newest tools of both kinds on its PATH.
  shell = build "iree-matrix-shell" "shell" {
    paths = [ "${own}/bin" ] ++ newest "compiler" ++ newest "runtime";
  } [ ] { };
}
