# SPDX-License-Identifier: Apache-2.0
"""Keys, certificates, tokens and kubeconfig files of a bed; regenerated each time it goes up."""
import json
import subprocess

# name: subject and names. The API server is called by loopback, and by its service address from inside pods.
LEAVES = {
    'apiserver': ('/CN=kube-apiserver', 'IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,'
                                        'DNS:kubernetes.default.svc'),
    'kubelet': ('/O=system:nodes/CN=system:node:{node}', 'DNS:{node},DNS:localhost,IP:127.0.0.1'),
    'apiclient': ('/O=system:masters/CN=apiserver-kubelet', 'DNS:apiserver-kubelet'),
}
# who: user and groups; the token is `<who>-token`.
USERS = {
    'admin': ('admin', 'system:masters'),
    'controllers': ('system:kube-controller-manager', ''),
    'scheduler': ('system:kube-scheduler', ''),
    'node': ('system:node:{node}', 'system:nodes'),
}


def openssl(folder, *words, **more):
    subprocess.run(['openssl', *words], cwd=folder, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def make(folder, node):
    folder.mkdir(parents=True, exist_ok=True)
    key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    openssl(folder, 'req', '-x509', *key, '-days', '3650', '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=gpuslice-bed')
    openssl(folder, 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'sa.key')
    openssl(folder, 'ec', '-in', 'sa.key', '-pubout', '-out', 'sa.pub')
    for name, (subject, names) in LEAVES.items():
        (folder / f'{name}.ext').write_text('subjectAltName=' + names.format(node=node))
        openssl(folder, 'req', *key, '-keyout', f'{name}.key', '-out', f'{name}.csr', '-subj', subject.format(node=node))
        openssl(folder, 'x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial',
                '-days', '3650', '-extfile', f'{name}.ext', '-out', f'{name}.crt')
    rows = [f'{who}-token,{user.format(node=node)},{number},"{groups}"'
            for number, (who, (user, groups)) in enumerate(USERS.items(), 1)]
    (folder / 'tokens.csv').write_text('\n'.join(rows) + '\n')


def kubeconfig(path, server, authority, token, **acting):
    """`acting`: the user and groups as which the token's user acts."""
    path.write_text(json.dumps({
        'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'bed',
        'clusters': [{'name': 'bed', 'cluster': {'server': server, 'certificate-authority': str(authority)}}],
        'users': [{'name': 'bed', 'user': {'token': token, **acting}}],
        'contexts': [{'name': 'bed', 'context': {'cluster': 'bed', 'user': 'bed'}}]}))
